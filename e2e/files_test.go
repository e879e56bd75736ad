package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"syscall"
	"testing"

	"image-cri-shim/e2e/testbed"
)

// TestFilesOfARunningShim checks the modes of the shim's files under several umasks: its
// socket has the mode of the runtime's, and all other files are private to its user.
func TestFilesOfARunningShim(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		written := "ledger.json"
		if runtime == shared.containerd {
			written = "pulls.json"
		}
		for _, umask := range []int{0, 0o022, 0o077} {
			t.Run(fmt.Sprintf("umask %03o", umask), func(t *testing.T) {
				before := syscall.Umask(umask)
				n := newNode(t, runtime, privateConfiguration())
				syscall.Umask(before)
				n.pull(t, n.through, "nginx:1.25", callerLogin)
				n.wantFiles(t, written)
			})
		}
	})
}

// wantFiles requires that the files of the shim are private to its user, and that there are
// no others. written is the file that the shim has written.
func (n *node) wantFiles(t *testing.T, written string) {
	t.Helper()
	runtime, err := os.Stat(n.runtime.Socket())
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(filepath.Dir(n.shim.Socket()), "state")
	for path, want := range map[string]fs.FileMode{
		n.shim.Socket():                    runtime.Mode(),
		state:                              fs.ModeDir | 0o700,
		filepath.Join(state, "admin.sock"): fs.ModeSocket | 0o600,
		filepath.Join(state, written):      0o600,
	} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info, err, want)
		}
	}
	eventually(t, func() string { // the journal is rewritten after the pull's answer
		entries, err := os.ReadDir(state)
		if err != nil || len(entries) != 2 {
			return fmt.Sprintf("the state directory contains %v (%v)", entries, err)
		}
		return ""
	})
}

// TestAnotherUserAtTheSockets lets another user connect to the sockets of the running shim,
// also when the folder and the mode of the admin socket permit it.
func TestAnotherUserAtTheSockets(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	n := newNodeWith(t, shared.embedded, testbed.ShimOptions{Configuration: privateConfiguration()})
	folder := filepath.Dir(n.shim.Socket())
	admin := filepath.Join(folder, "state", "admin.sock")
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, socket := range []string{n.shim.Socket(), admin} {
		if said, err := requestAsOtherUser(socket); !errors.Is(err, syscall.EACCES) {
			t.Errorf("%s: got %q, %v, want no connection for other users", socket, said, err)
		}
	}
	for path, mode := range map[string]fs.FileMode{filepath.Dir(admin): 0o755, admin: 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if said, err := requestAsOtherUser(admin); said != "" || errors.Is(err, syscall.EACCES) {
		t.Errorf("open admin socket: got %q, %v, want a connection without an answer", said, err)
	}
	if said, err := n.shim.Command(testContext(t), "resolve", "nginx:1.25"); err != nil || len(said) == 0 {
		t.Errorf("root got %q, %v", said, err)
	}
}

// requestAsOtherUser sends a request to a socket as another user and returns the answer.
func requestAsOtherUser(socket string) (said string, err error) {
	const nobody = 65534
	done := make(chan struct{})
	go func() {
		defer close(done)
		goruntime.LockOSThread() // never unlocked, so that the thread ends with the goroutine
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			err = errno
			return
		}
		var connection int
		if connection, err = syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		defer func() { _ = syscall.Close(connection) }()
		if err = syscall.Connect(connection, &syscall.SockaddrUnix{Name: socket}); err != nil {
			return
		}
		_, _ = syscall.Write(connection, []byte("GET /resolve?image=nginx HTTP/1.1\r\nHost: shim\r\n\r\n"))
		answer := make([]byte, 4096)
		var read int
		if read, err = syscall.Read(connection, answer); read > 0 {
			said = string(answer[:read])
		}
	}()
	<-done
	return said, err
}
