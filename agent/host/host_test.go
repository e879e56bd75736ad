package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inventory lists the names, modes and content of the files in a folder.
func inventory(t *testing.T, folder string) (list string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		content, _ := os.ReadFile(filepath.Join(folder, entry.Name()))
		target, _ := os.Readlink(filepath.Join(folder, entry.Name()))
		list += fmt.Sprintf("%s %v %q %s\n", entry.Name(), info.Mode(), content, target)
	}
	return list
}

func TestWriteFile(t *testing.T) {
	tests := map[string]struct {
		prepare func(path string) error
		changed bool
	}{
		"new":         {func(string) error { return nil }, true},
		"equal":       {func(path string) error { return os.WriteFile(path, []byte("wanted"), 0o640) }, false},
		"other":       {func(path string) error { return os.WriteFile(path, []byte("former"), 0o640) }, true},
		"other mode":  {func(path string) error { return os.WriteFile(path, []byte("wanted"), 0o600) }, true},
		"interrupted": {func(path string) error { return os.WriteFile(Temporary(path), []byte("wan"), 0o600) }, true},
		"link": {func(path string) error {
			return errors.Join(os.WriteFile(path+".target", []byte("wanted"), 0o640), os.Symlink(path+".target", path), os.Remove(path+".target"))
		}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "file")
			if err := test.prepare(path); err != nil {
				t.Fatal(err)
			}
			changed, err := WriteFile(path, []byte("wanted"), 0o640)
			if err != nil || changed != test.changed {
				t.Errorf("changed %t, %v; want %t", changed, err, test.changed)
			}
			if got, want := inventory(t, folder), "file -rw-r----- \"wanted\" \n"; got != want {
				t.Errorf("files:\n%swant:\n%s", got, want)
			}
		})
	}
}

// A failed write leaves the former file and no other.
func TestWriteFileFails(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "folder")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	before := inventory(t, folder)
	if _, err := WriteFile(path, []byte("wanted"), 0o640); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error is %v, want one that names %s", err, path)
	}
	if after := inventory(t, folder); after != before {
		t.Errorf("files:\n%swant:\n%s", after, before)
	}
}

func TestWriteFileForOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can change owners")
	}
	path := filepath.Join(t.TempDir(), "file")
	owner := Owner{UID: 1234, GID: 5678}
	if _, err := WriteFileFor(owner, path, []byte("wanted"), 0o4750|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || OwnerOf(info) != owner || info.Mode() != 0o750|fs.ModeSetuid {
		t.Errorf("owner %v, mode %v, %v", OwnerOf(info), info.Mode(), err)
	}
	if changed, err := WriteFile(path, []byte("wanted"), 0o750|fs.ModeSetuid); err != nil || !changed {
		t.Errorf("a file of another owner: changed %t, %v; want true", changed, err)
	}
}

func TestReplaceSymlink(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "link")
	for i, step := range []struct {
		target  string
		changed bool
	}{{"v1", true}, {"v1", false}, {"v2", true}} {
		if changed, err := ReplaceSymlink(path, step.target); err != nil || changed != step.changed {
			t.Errorf("step %d: changed %t, %v; want %t", i, changed, err, step.changed)
		}
	}
	if target, err := os.Readlink(path); err != nil || target != "v2" {
		t.Errorf("link leads to %s, %v; want v2", target, err)
	}
}

// A running binary can be replaced, but not written to.
func TestCopyFileReplacesAnOpenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := CopyFile(path, strings.NewReader("former"), 0o755); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := CopyFile(path, strings.NewReader("wanted"), 0o755); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(path)
	if err != nil || os.SameFile(before, after) {
		t.Errorf("the file was written to instead of replaced: %v", err)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	release, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = Lock(ctx, path)
	if want := fmt.Sprintf("process %d holds it", os.Getpid()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %q", err, want)
	}
	waited := make(chan error)
	go func() {
		release, err := Lock(t.Context(), path)
		if err == nil {
			release()
		}
		waited <- err
	}()
	release()
	if err := <-waited; err != nil {
		t.Errorf("lock after the release: %v", err)
	}
}

func TestEnterRefuses(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef\n"
	node := func(t *testing.T, id string) string {
		root := t.TempDir()
		if err := errors.Join(os.Mkdir(filepath.Join(root, "etc"), 0o755), os.WriteFile(filepath.Join(root, machineIDFile), []byte(id), 0o444)); err != nil {
			t.Fatal(err)
		}
		return root
	}
	right, other, without := node(t, id), node(t, id), node(t, "uninitialized\n")
	for name, test := range map[string]struct{ root, nodeRoot, want string }{
		"another folder":     {right, other, "is not the root of process 1"},
		"missing":            {right + "/none", right, "find the node's root"},
		"no host's process":  {right, right + "/none", "hostPID"},
		"without machine-id": {without, without, "systemd-machine-id-setup"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := enter(test.root, test.nodeRoot); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %q", err, test.want)
			}
		})
	}
	if err := checkRoot(right, right); err != nil {
		t.Errorf("the node's own root: %v", err)
	}
}
