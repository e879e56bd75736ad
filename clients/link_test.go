package clients_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestModeAndOwnerStay requires that the edited file and its backup keep mode and owner under
// any umask.
func TestModeAndOwnerStay(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077} {
		folder := t.TempDir()
		node := newNode(folder)
		write(t, folder, crictl, "")
		if err := os.Chmod(node.Crictl, 0o640); err != nil {
			t.Fatal(err)
		}
		owner := os.Getuid()
		if owner == 0 {
			owner = 1
		}
		if err := os.Chown(node.Crictl, owner, -1); err != nil {
			t.Fatal(err)
		}
		before := syscall.Umask(umask)
		apply(t, node.Install)
		syscall.Umask(before)
		for _, path := range []string{node.Crictl, node.Crictl + ".image-cri-shim.bak"} {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o640 || ownerOf(info) != owner {
				t.Errorf("%s has mode %v and owner %d, want 0640 and %d", path, info.Mode(), ownerOf(info), owner)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(folder, ".*")); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	}
}

// TestBackupThatIsALink requires that a linked backup is rejected and the link's target stays.
func TestBackupThatIsALink(t *testing.T) {
	folder := t.TempDir()
	node := newNode(folder)
	write(t, folder, crictl, "")
	write(t, folder, "shadow", "root:*:\n")
	if err := os.Symlink("shadow", node.Crictl+".image-cri-shim.bak"); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Install(); err == nil || !strings.Contains(err.Error(), "its backup: is a symbolic link to shadow") {
		t.Errorf("the error is %v", err)
	}
	if got := read(t, folder, "shadow"); got != "root:*:\n" {
		t.Errorf("it holds %q", got)
	}
}

// TestFilesAreSwapped replaces files with links while install reads and writes them. The
// targets of the links are neither shown nor changed.
func TestFilesAreSwapped(t *testing.T) {
	folder := t.TempDir()
	node := newNode(folder)
	const secret = "# hunter2\n"
	write(t, folder, "shadow", secret)
	backup := node.Crictl + ".image-cri-shim.bak"
	done := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				for _, path := range []string{node.Crictl, backup} { // atomically, so that a file always exists
					_ = os.Symlink("shadow", path+".link")
					_ = os.Rename(path+".link", path)
				}
				_ = os.Remove(backup)
				_ = os.WriteFile(node.Crictl+".file", []byte("timeout: 2\n"), 0o600)
				_ = os.Rename(node.Crictl+".file", node.Crictl)
			}
		}
	})
	planned := 0
	for range 3000 {
		changes, err := node.Install()
		if err != nil {
			continue
		}
		planned++
		for _, change := range changes {
			if diff := change.Diff(); strings.Contains(diff, "hunter2") {
				t.Errorf("the diff shows the link's target:\n%s", diff)
			}
			_ = change.Apply() // the folder's owner may make it fail
		}
	}
	close(done)
	swapping.Wait()
	if planned == 0 {
		t.Error("the file was never there: the test shows nothing")
	}
	if got := read(t, folder, "shadow"); got != secret {
		t.Errorf("the link's target holds %q", got)
	}
	if info, err := os.Lstat(filepath.Join(folder, "shadow")); err != nil || info.Mode() != fs.FileMode(0o600) {
		t.Error(errors.Join(err, errors.New("the link's target has another mode")))
	}
}
