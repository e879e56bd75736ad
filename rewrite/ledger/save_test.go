package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// TestLedgerRetries checks that a failed save is retried until it succeeds, even without
// another change.
func TestLedgerRetries(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "state")
	path := filepath.Join(directory, fileName)
	synctest.Test(t, func(t *testing.T) {
		l := openLedger(t, directory)
		if err := os.MkdirAll(path, 0o700); err != nil { // a file can't replace a directory
			t.Fatal(err)
		}
		if err := l.Apply(Change{SetNames: []Entry{nameOf(1)}}); err == nil {
			t.Fatal("Apply returned no error")
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(maxBackoff + time.Second)
		synctest.Wait()
		if again := openLedger(t, directory); !again.MayRestore() {
			t.Error("the ledger was not saved")
		}
		if l.file.retry.timer != nil {
			t.Error("another retry is scheduled after the success")
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestLedgerClose checks that Close stops the retries and saves the ledger.
func TestLedgerClose(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	directory := t.TempDir()
	path := filepath.Join(directory, fileName)
	l := openLedger(t, directory)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if l.Apply(Change{SetNames: []Entry{nameOf(1)}}) == nil || l.Close() == nil {
		t.Fatal("Apply or Close returned no error")
	}
	if l.file.retry.timer != nil {
		t.Error("a retry is scheduled after Close")
	}
	if err := errors.Join(os.Remove(path), l.Close()); err != nil {
		t.Fatal(err)
	}
	if again := openLedger(t, directory); !again.MayRestore() {
		t.Error("it was not saved")
	}
}

func TestRetryBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r retry
		begun := time.Now()
		var at []time.Duration
		var again func()
		again = func() {
			at = append(at, time.Since(begun))
			if len(at) < 9 {
				r.failed(again)
			}
		}
		r.failed(again)
		r.failed(again) // already scheduled
		time.Sleep(time.Hour)
		synctest.Wait()
		want := []time.Duration{1, 3, 7, 15, 31, 63, 123, 183, 243}
		for i := range want {
			want[i] *= time.Second
		}
		if !reflect.DeepEqual(at, want) {
			t.Errorf("retried after %v, want %v", at, want)
		}
		r.succeeded()
		r.stop()
		r.failed(func() { t.Error("called after stop") })
		time.Sleep(time.Hour)
	})
}

// TestLedgerMakesItsDirectoryAgain checks that a save creates a directory that was removed.
func TestLedgerMakesItsDirectoryAgain(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "state")
	l := openLedger(t, directory)
	if err := os.RemoveAll(directory); err != nil {
		t.Fatal(err)
	}
	if err := l.Apply(Change{SetNames: []Entry{nameOf(1)}}); err != nil {
		t.Fatal(err)
	}
	wantMode(t, directory, fs.ModeDir|0o700)
	if again := openLedger(t, directory); !again.MayRestore() {
		t.Error("the change was not saved")
	}
}

func TestFullDiskIsCalledThat(t *testing.T) {
	for err, want := range map[error]bool{syscall.ENOSPC: true, syscall.EDQUOT: true, syscall.EACCES: false, syscall.EROFS: false} {
		wrapped := &fs.PathError{Op: "write", Path: "ledger.json.new", Err: err}
		if got := explainFull(wrapped); strings.HasPrefix(got.Error(), "the disk is full: ") != want || !errors.Is(got, err) {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// TestLedgerOnAFullDisk checks that a failed write leaves no temporary file.
func TestLedgerOnAFullDisk(t *testing.T) {
	directory := t.TempDir()
	if err := syscall.Mount("tmpfs", directory, "tmpfs", 0, "size=16k,mode=0700"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(directory, 0); err != nil {
			t.Error(err)
		}
	}()
	l := openLedger(t, directory)
	defer func() { _ = l.Close() }()
	var err error
	for i := 0; i < 200 && err == nil; i++ {
		err = l.Apply(Change{SetNames: []Entry{nameOf(i)}})
	}
	if err == nil || !strings.Contains(err.Error(), "names of pulled images won't survive a restart: the disk is full: ") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(directory, fileName+".new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the temporary file still exists (%v)", err)
	}
}

// TestLedgerOfVersion1 checks the conversion of a file of version 1. Each hidden reference
// follows from a name or becomes a leftover, and a name for a hidden reference becomes an
// requested reference.
func TestLedgerOfVersion1(t *testing.T) {
	directory := t.TempDir()
	name := func(original, image, stored string) string {
		return fmt.Sprintf(`{"original":%q,"image":%q,"stored":%q,"at":"2026-01-01T00:00:00Z"}`, original, image, stored)
	}
	hidden := func(reference, image string) string {
		return fmt.Sprintf(`{"reference":%q,"image":%q}`, reference, image)
	}
	content := `{"version":1,"names":[` + strings.Join([]string{
		name("docker.io/library/a:1", "sha256:a", hub+"/library/a:1"), // pulled
		name("docker.io/library/b:1", "sha256:b", hub+"/library/b:1"), // pulled, and also asked for by the hub's name
		name(hub+"/library/b:1", "sha256:b", hub+"/library/b:1"),
		name("docker.io/library/c:1", "sha256:c", hub+"/library/c:1"), // preloaded
		name(hub+"/library/d:1", "sha256:old", hub+"/library/d:1"),    // asked for, then moved to another image
		name("docker.io/library/d:1", "sha256:d", hub+"/library/d:1"),
	}, ",") + `],"hidden":[` + strings.Join([]string{
		hidden(hub+"/library/a:1", "sha256:a"), hidden(hub+"/library/b:1", "sha256:b"), hidden(hub+"/library/d:1", "sha256:d"),
		hidden(hub+"/library/failed:1", "sha256:f"), hidden("docker.io/library/a:1", "sha256:older"),
	}, ",") + `]}`
	if err := os.WriteFile(filepath.Join(directory, fileName), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(l *Ledger) {
		t.Helper()
		for on, want := range map[ImageRef]bool{
			{hub + "/library/a:1", "sha256:a"}:        true,
			{hub + "/library/b:1", "sha256:b"}:        false,
			{hub + "/library/c:1", "sha256:c"}:        false,
			{hub + "/library/d:1", "sha256:d"}:        true,
			{hub + "/library/d:1", "sha256:old"}:      false,
			{hub + "/library/failed:1", "sha256:f"}:   true,
			{"docker.io/library/a:1", "sha256:older"}: true,
		} {
			if got := l.IsHidden(on.Reference, on.Image); got != want {
				t.Errorf("%v: got hidden %v, want %v", on, got, want)
			}
		}
		if c, _ := l.Lookup("docker.io/library/c:1"); !c.Preloaded {
			t.Errorf("%+v is not preloaded", c)
		}
		if d, _ := l.Lookup(hub + "/library/d:1"); d.Image != "sha256:old" {
			t.Errorf("the hub's name means %+v", d)
		}
		if l.Len() != 5 {
			t.Errorf("%d names", l.Len())
		}
	}
	l := openLedger(t, directory)
	check(l)
	if err := l.Apply(Change{Show: []ImageRef{{Reference: hub + "/library/x:1", Image: "sha256:x"}}}); err != nil {
		t.Fatal(err)
	}
	if saved, err := os.ReadFile(filepath.Join(directory, fileName)); err != nil || !strings.HasPrefix(string(saved), `{"version":2,`) {
		t.Errorf("saved %.40s (%v)", saved, err)
	}
	check(openLedger(t, directory))
}

// Records of references that clients asked for by their own names change no answer.
func TestLedgerThatChangesNothingIsEmpty(t *testing.T) {
	l := openLedger(t, t.TempDir())
	own := ImageRef{Reference: hub + "/library/a:1", Image: "sha256:a"}
	if err := l.Apply(Change{Show: []ImageRef{own}}); err != nil || l.MayRestore() {
		t.Errorf("with only a requested reference: %v, empty: %v", err, !l.MayRestore())
	}
	if err := l.Apply(Change{Hide: []ImageRef{own}}); err != nil || !l.MayRestore() || !l.IsHidden(own.Reference, own.Image) {
		t.Errorf("with a hidden reference: %v, empty: %v", err, !l.MayRestore())
	}
	if err := l.Reconcile(nil, time.Now()); err != nil || l.MayRestore() || !l.IsEmpty() {
		t.Errorf("after a list without images: %v, empty: %v", err, !l.MayRestore())
	}
}
