package ledger

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"image-cri-shim/rewrite/statedir"
)

// TestLedgerFilesArePrivate checks the modes of the directory, the file and the temporary file
// with several umasks.
func TestLedgerFilesArePrivate(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077} {
		before := syscall.Umask(umask)
		defer syscall.Umask(before)
		directory := filepath.Join(t.TempDir(), "state")
		l := openLedger(t, directory)
		if err := l.Apply(Change{SetNames: []Entry{nameOf(1)}}); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(directory, fileName)
		wantMode(t, directory, fs.ModeDir|0o700)
		wantMode(t, path, 0o600)
		if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil { // a file can't replace a directory
			t.Fatal(err)
		}
		if err := l.Apply(Change{SetNames: []Entry{nameOf(2)}}); err == nil {
			t.Error("the ledger replaced a directory")
		}
		wantMode(t, path+".new", 0o600)
	}
}

func wantMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	if info, err := os.Lstat(path); err != nil || info.Mode() != want {
		t.Errorf("%s: got %v, %v, want the mode %v", path, info, err, want)
	}
}

// precious creates a file that the ledger must not change. unchanged checks its content and
// mode.
func precious(t *testing.T) (path string, unchanged func()) {
	t.Helper()
	const content = "root:*:19000:0:99999:7:::\n"
	path = filepath.Join(t.TempDir(), "shadow")
	if err := errors.Join(os.WriteFile(path, []byte(content), 0o600), os.Chmod(path, 0o640)); err != nil {
		t.Fatal(err)
	}
	return path, func() {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("the file was changed to %.100q (%v)", got, err)
		}
		wantMode(t, path, 0o640)
	}
}

// TestLedgerFollowsNoLink checks that the ledger does not follow links out of its directory,
// neither to read nor to write.
func TestLedgerFollowsNoLink(t *testing.T) {
	links := map[string]func(target, path string) error{"symbolic": os.Symlink, "hard": os.Link}
	for kind, link := range links {
		for _, name := range []string{fileName, fileName + ".new", fileName + ".damaged"} {
			t.Run(kind+" "+name, func(t *testing.T) {
				directory := t.TempDir()
				path, unchanged := precious(t)
				if err := link(path, filepath.Join(directory, name)); err != nil {
					t.Fatal(err)
				}
				l, err := Open(directory)
				if is := name == fileName; is != (err != nil) || is && strings.Contains(err.Error(), "root:") {
					t.Errorf("Open returned %v", err)
				}
				err = l.Apply(Change{SetNames: []Entry{nameOf(1)}})
				unchanged()
				if kind == "symbolic" && name == fileName { // an operator may have created the link, so it stays
					if err == nil {
						t.Error("the ledger replaced a link that it can't follow")
					}
					return
				}
				if err != nil {
					t.Error(err)
				}
				if again := openLedger(t, directory); !again.MayRestore() {
					t.Error("the change was not saved")
				}
			})
		}
	}
}

// TestLedgerCreatesNothingElsewhere checks that the ledger does not create the missing target
// of a link.
func TestLedgerCreatesNothingElsewhere(t *testing.T) {
	directory, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "cron")
	if err := os.Symlink(elsewhere, filepath.Join(directory, fileName+".new")); err != nil {
		t.Fatal(err)
	}
	if err := openLedger(t, directory).Apply(Change{SetNames: []Entry{nameOf(1)}}); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(elsewhere); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the ledger created the target of the link (%v)", err)
	}
}

// TestLedgerThatOthersWrite checks that a ledger which other users may write to is neither read
// nor written.
func TestLedgerThatOthersWrite(t *testing.T) {
	const nobody = 65534
	folder := func(change func(string) error) func(directory, path string) error {
		return func(directory, _ string) error { return change(directory) }
	}
	file := func(change func(string) error) func(directory, path string) error {
		return func(_, path string) error { return change(path) }
	}
	for name, spoil := range map[string]func(directory, path string) error{
		"folder of another user": folder(func(path string) error { return os.Chown(path, nobody, nobody) }),
		"folder open to a group": folder(func(path string) error { return os.Chmod(path, 0o770) }),
		"folder open to all":     folder(func(path string) error { return os.Chmod(path, fs.ModeSticky|0o777) }),
		"file of another user":   file(func(path string) error { return os.Chown(path, nobody, nobody) }),
		"file open to all":       file(func(path string) error { return os.Chmod(path, 0o666) }),
	} {
		t.Run(name, func(t *testing.T) {
			if strings.HasSuffix(name, "another user") && os.Geteuid() != 0 {
				t.Skip("only root can give a file away")
			}
			directory := filepath.Join(t.TempDir(), "state")
			path := filepath.Join(directory, fileName)
			if err := openLedger(t, directory).Apply(Change{SetNames: []Entry{nameOf(1)}}); err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(path)
			if err := errors.Join(err, spoil(directory, path)); err != nil {
				t.Fatal(err)
			}
			for what, open := range map[string]func(string) (*Ledger, error){"OpenLedger": Open, "ReadLedger": Read} {
				if l, err := open(directory); err == nil || l.MayRestore() || !strings.Contains(err.Error(), directory) {
					t.Errorf("%s: got the error %v, ledger empty: %v", what, err, !l.MayRestore())
				}
			}
			l, _ := Open(directory)
			if err := l.Apply(Change{SetNames: []Entry{nameOf(2)}}); err == nil {
				t.Error("a change was written")
			}
			if _, ok := l.Lookup(nameOf(2).Original); !ok {
				t.Error("the change is not in force")
			}
			if now, err := os.ReadFile(path); err != nil || string(now) != string(content) {
				t.Errorf("the file holds %q (%v)", now, err)
			}
		})
	}
}

// TestReadLedgerOfAnotherUser reads, as root, the ledger of a shim that runs as another user.
// Directory and file must belong to that user only. A shim that runs as a third user must
// reject them.
func TestReadLedgerOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	const shim, other = 65534, 65533
	directory := filepath.Join(t.TempDir(), "state")
	path := filepath.Join(directory, fileName)
	if err := openLedger(t, directory).Apply(Change{SetNames: []Entry{nameOf(1)}}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chown(directory, shim, shim), os.Chown(path, shim, shim)); err != nil {
		t.Fatal(err)
	}
	if l, err := Read(directory); err != nil || !l.MayRestore() {
		t.Errorf("Read returned %v, ledger empty: %v", err, !l.MayRestore())
	}
	wantPermissionError(t, statedir.Check(directory, shim), "", "")
	wantPermissionError(t, statedir.Check(directory, other), "user 65534, but the shim runs as user 65533", "chown 65533 "+directory)
	_, err := Open(directory)
	wantPermissionError(t, err, "user 65534, but the shim runs as user 0", "chown 0 "+directory)
	for name, spoil := range map[string]func() error{
		"root's file":    func() error { return os.Chown(path, 0, 0) },
		"another's file": func() error { return os.Chown(path, other, other) },
		"open file":      func() error { return os.Chmod(path, 0o620) },
		"open folder":    func() error { return os.Chmod(directory, 0o770) },
	} {
		whole := errors.Join(os.Chown(path, shim, shim), os.Chmod(path, 0o600), os.Chmod(directory, 0o700))
		if err := errors.Join(whole, spoil()); err != nil {
			t.Fatal(err)
		}
		if l, err := Read(directory); err == nil || l.MayRestore() {
			t.Errorf("%s: Read returned %v, ledger empty: %v", name, err, !l.MayRestore())
		}
	}
}

// wantPermissionError requires a [statedir.PermissionError], or no error if remedy is empty.
func wantPermissionError(t *testing.T, err error, problem, remedy string) {
	t.Helper()
	exposed, ok := errors.AsType[*statedir.PermissionError](err)
	if ok != (remedy != "") || ok && (!strings.Contains(exposed.Problem, problem) || exposed.Remedy != remedy) {
		t.Errorf("got %v, want an error with %q and %q", err, problem, remedy)
	}
}

// TestLedgerPipe checks that Open and Read do not block on a pipe in place of the file, and that
// Open renames it.
func TestLedgerPipe(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, fileName)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := Read(directory); err == nil || l.MayRestore() {
		t.Errorf("Read returned %v, ledger empty: %v", err, !l.MayRestore())
	}
	if l, err := Open(directory); err == nil || l.MayRestore() {
		t.Errorf("Open returned %v, ledger empty: %v", err, !l.MayRestore())
	}
	wantMode(t, path+".damaged", fs.ModeNamedPipe|0o600)
	if err := openLedger(t, directory).Apply(Change{SetNames: []Entry{nameOf(1)}}); err != nil {
		t.Error(err)
	}
}

// TestLedgerOutlivesARefusal follows the advice in the error for wrong permissions. The ledger
// must not overwrite the names on disk, neither before nor after the correction, and a
// restarted shim must read them.
func TestLedgerOutlivesARefusal(t *testing.T) {
	for name, refused := range map[string]struct {
		spoiled func(directory, path string) string // returns the path to chmod
		mode    fs.FileMode
	}{
		"folder open to a group": {func(directory, _ string) string { return directory }, 0o775},
		"file open to a group":   {func(_, path string) string { return path }, 0o664},
	} {
		t.Run(name, func(t *testing.T) {
			directory := filepath.Join(t.TempDir(), "state")
			path := filepath.Join(directory, fileName)
			if err := openLedger(t, directory).Apply(Change{SetNames: []Entry{nameOf(1)}}); err != nil {
				t.Fatal(err)
			}
			spoiled := refused.spoiled(directory, path)
			if err := os.Chmod(spoiled, refused.mode); err != nil {
				t.Fatal(err)
			}
			l, err := Open(directory)
			if l.Unread() == "" {
				t.Error("Unread returns nothing")
			}
			for _, advice := range []string{"chmod go-w " + spoiled, "restart the shim"} {
				if err == nil || !strings.Contains(err.Error(), advice) {
					t.Errorf("Open returned %v, want an error with %q", err, advice)
				}
			}
			for i, mode := range []fs.FileMode{refused.mode, refused.mode &^ 0o022} {
				if err := os.Chmod(spoiled, mode); err != nil {
					t.Fatal(err)
				}
				if err := l.Apply(Change{SetNames: []Entry{nameOf(2 + i)}}); err == nil || !strings.Contains(err.Error(), "restart the shim") {
					t.Errorf("mode %04o: the ledger overwrote unread names: %v", mode, err)
				}
			}
			restarted := openLedger(t, directory)
			if _, ok := restarted.Lookup(nameOf(1).Original); !ok {
				t.Error("the names on disk were lost")
			}
			if err := restarted.Apply(Change{SetNames: []Entry{nameOf(9)}}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLedgerIsSavedAfterAChmod opens the directory to others while the ledger is in use. It is
// saved after the directory is closed again, without a restart.
func TestLedgerIsSavedAfterAChmod(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "state")
	l := openLedger(t, directory)
	if err := errors.Join(l.Apply(Change{SetNames: []Entry{nameOf(1)}}), os.Chmod(directory, 0o777)); err != nil {
		t.Fatal(err)
	}
	if err := l.Apply(Change{SetNames: []Entry{nameOf(2)}}); err == nil {
		t.Error("saved in a directory that others may write to")
	}
	if l.Unread() != "" {
		t.Errorf("Unread returns %q", l.Unread())
	}
	if err := os.Chmod(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Apply(Change{SetNames: []Entry{nameOf(3)}}); err != nil {
		t.Error(err)
	}
	saved, err := Read(directory)
	if err != nil || saved.Len() != 3 {
		t.Errorf("%d names are saved, %v, want 3", saved.Len(), err)
	}
}

// TestLedgerLinksAreSwapped repeatedly replaces the temporary file by links to another file
// while the ledger writes. Changes may fail, but the other file must not change.
func TestLedgerLinksAreSwapped(t *testing.T) {
	directory := t.TempDir()
	path, unchanged := precious(t)
	l := openLedger(t, directory)
	temporary := filepath.Join(directory, fileName+".new")
	done := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				_ = os.Symlink(path, temporary)
				_ = os.Remove(temporary)
				_ = os.Link(path, temporary)
				_ = os.Remove(temporary)
			}
		}
	})
	for i := range 100 {
		_ = l.Apply(Change{SetNames: []Entry{nameOf(i)}})
	}
	close(done)
	swapping.Wait()
	unchanged()
	if err := errors.Join(os.RemoveAll(temporary), l.Apply(Change{SetNames: []Entry{nameOf(100)}})); err != nil {
		t.Fatal(err)
	}
	_ = openLedger(t, directory)
}

// TestStateDirectoryThatIsALink checks that a link as state directory is followed, and that the
// permissions of its target apply.
func TestStateDirectoryThatIsALink(t *testing.T) {
	target, link := t.TempDir(), filepath.Join(t.TempDir(), "state")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := openLedger(t, link).Apply(Change{SetNames: []Entry{nameOf(1)}}); err != nil {
		t.Error(err)
	}
	wantMode(t, filepath.Join(target, fileName), 0o600)
	if err := os.Chmod(target, 0o777); err != nil {
		t.Fatal(err)
	}
	if l, err := Open(link); err == nil || l.MayRestore() {
		t.Errorf("Open accepted a link to a directory that all users may write to: %v", err)
	}
}
