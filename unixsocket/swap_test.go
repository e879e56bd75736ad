package unixsocket_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"image-cri-shim/unixsocket"
)

// TestListenUmask requires the documented modes under any umask.
func TestListenUmask(t *testing.T) {
	runtimeSocket := temporarySocket(t)
	leaveStale(t, runtimeSocket)
	if err := os.Chmod(runtimeSocket, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, umask := range []int{0, 0o022, 0o077, 0o777} {
		before := syscall.Umask(umask)
		socket, private := temporarySocket(t), temporarySocket(t)
		listen(t, socket, runtimeSocket)
		listener, err := unixsocket.ListenPrivate(t.Context(), private)
		syscall.Umask(before)
		if err != nil {
			t.Fatal(err)
		}
		expectRights(t, socket, 0o666, os.Geteuid(), os.Getegid())
		expectRights(t, private, fs.FileMode(0o600&^umask), os.Geteuid(), os.Getegid())
		_ = listener.Close()
	}
}

// TestListenIsSwapped replaces the socket, at random moments, with links to a precious file, as
// another user with write access to the folder could. The file stays unchanged, and so does a
// socket of another user.
func TestListenIsSwapped(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root changes the owner of a socket")
	}
	runtimeSocket := temporarySocket(t)
	leaveStale(t, runtimeSocket)
	if err := errors.Join(os.Chmod(runtimeSocket, 0o666), os.Chown(runtimeSocket, 1234, 5678)); err != nil {
		t.Fatal(err)
	}
	socket := temporarySocket(t)
	precious, others := filepath.Join(t.TempDir(), "shadow"), socket+".others"
	leaveStale(t, others)
	if err := errors.Join(os.WriteFile(precious, []byte("root:*:"), 0o600), os.Chown(others, 65534, 65534), os.Chmod(others, 0o600)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for link := 0; ; link++ {
			select {
			case <-done:
				return
			default:
			}
			if os.Remove(socket) != nil { // the socket does not exist yet
				continue
			}
			switch link % 3 {
			case 0:
				_ = os.Symlink(precious, socket)
			case 1:
				_ = os.Link(precious, socket)
			case 2:
				_ = os.Link(others, socket)
			}
		}
	})
	opened := 0
	for range 2000 {
		if listener, err := unixsocket.Listen(t.Context(), socket, runtimeSocket); err == nil {
			opened++
			_ = listener.Close()
		}
	}
	close(done)
	swapping.Wait()
	t.Logf("opened %d times", opened)
	if content, err := os.ReadFile(precious); err != nil || string(content) != "root:*:" {
		t.Errorf("the precious file holds %q (%v)", content, err)
	}
	expectFile(t, precious, 0o600, 0)
	expectFile(t, others, fs.ModeSocket|0o600, 65534)
	_ = os.Remove(socket)
	listen(t, socket, runtimeSocket)
	expectRights(t, socket, 0o666, 1234, 5678)
}

func expectFile(t *testing.T, path string, mode fs.FileMode, owner int) {
	t.Helper()
	file, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := int(file.Sys().(*syscall.Stat_t).Uid); file.Mode() != mode || got != owner {
		t.Errorf("%s is %v of user %d, want %v of %d", path, file.Mode(), got, mode, owner)
	}
}

// TestCloseIsSwapped requires that Close leaves a file that has replaced the socket.
func TestCloseIsSwapped(t *testing.T) {
	socket := temporarySocket(t)
	target := socket + ".target"
	listener := listen(t, socket, "")
	if err := errors.Join(os.Rename(socket, target), os.Symlink(target, socket)); err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	for _, path := range []string{socket, target} {
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s is gone: %v", path, err)
		}
	}
	if connection, err := net.Dial("unix", socket); err == nil {
		_ = connection.Close()
		t.Error("the closed socket still answers")
	}
}
