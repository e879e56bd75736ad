package unixsocket_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"image-cri-shim/unixsocket"
)

// listen opens the socket and answers every client until the test ends.
func listen(t *testing.T, socket, runtimeSocket string) net.Listener {
	t.Helper()
	listener, err := unixsocket.Listen(t.Context(), socket, runtimeSocket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// leaveStale leaves a socket file without a listening process.
func leaveStale(t *testing.T, socket string) {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
}

func expectAnswer(t *testing.T, socket string) {
	t.Helper()
	connection, err := net.Dial("unix", socket)
	if err != nil {
		t.Errorf("the socket does not answer: %v", err)
		return
	}
	_ = connection.Close()
}

func expectGone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("%s is still there (%v)", path, err)
	}
}

func TestListen(t *testing.T) {
	tests := map[string]func(t *testing.T, socket string){
		"nothing there":     func(*testing.T, string) {},
		"stale socket":      leaveStale,
		"listened before":   func(t *testing.T, socket string) { _ = listen(t, socket, "").Close() },
		"folder is missing": func(t *testing.T, socket string) { _ = os.Remove(filepath.Dir(socket)) },
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			socket := temporarySocket(t)
			prepare(t, socket)
			listener := listen(t, socket, "")
			expectAnswer(t, socket)
			if err := listener.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			expectGone(t, socket)
		})
	}
}

func TestListenCreatesParentFolders(t *testing.T) {
	socket := filepath.Join(filepath.Dir(temporarySocket(t)), "run", "shim", "test.sock")
	listen(t, socket, "")
	expectAnswer(t, socket)
}

// A file in the way that is not a stale socket stays unchanged.
func TestListenRefuses(t *testing.T) {
	tests := map[string]struct {
		prepare func(t *testing.T, path string) error
		want    string // of the error
	}{
		"live socket": {func(t *testing.T, path string) error {
			listen(t, path, "")
			return nil
		}, "in use"},
		"regular file": {func(_ *testing.T, path string) error {
			return os.WriteFile(path, []byte("precious"), 0o600)
		}, "not a socket"},
		"empty file": {func(_ *testing.T, path string) error { return os.WriteFile(path, nil, 0o600) }, "not a socket"},
		"folder":     {func(_ *testing.T, path string) error { return os.Mkdir(path, 0o700) }, "not a socket"},
		"link to a regular file": {func(_ *testing.T, path string) error {
			target := path + ".target"
			return errors.Join(os.WriteFile(target, nil, 0o600), os.Symlink(target, path))
		}, "not a socket"},
		"link to a live socket": {func(t *testing.T, path string) error {
			target := path + ".target"
			listen(t, target, "")
			return os.Symlink(target, path)
		}, ""},
		"link to nothing": {func(_ *testing.T, path string) error { return os.Symlink(path+".target", path) }, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			socket := temporarySocket(t)
			if err := test.prepare(t, socket); err != nil {
				t.Fatal(err)
			}
			before := inventory(t, filepath.Dir(socket))
			listener, err := unixsocket.Listen(t.Context(), socket, "")
			if err == nil {
				_ = listener.Close()
				t.Fatal("there was no error")
			}
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), socket) {
				t.Errorf("the error is %q, want it to say %q and name %s", err, test.want, socket)
			}
			if after := inventory(t, filepath.Dir(socket)); after != before {
				t.Errorf("before:\n%safter:\n%s", before, after)
			}
		})
	}
}

// inventory describes the files in a folder.
func inventory(t *testing.T, folder string) string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var list strings.Builder
	for _, entry := range entries {
		file, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		content, _ := os.ReadFile(filepath.Join(folder, entry.Name()))
		fmt.Fprintf(&list, "%v %s inode %d %q\n", file.Mode(), file.Name(), file.Sys().(*syscall.Stat_t).Ino, content)
	}
	return list.String()
}

func TestListenNamesAnImpossiblePath(t *testing.T) {
	folder := filepath.Dir(temporarySocket(t))
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, socket := range map[string]string{
		"too long for a unix socket": filepath.Join(folder, strings.Repeat("x", 120)),
		"below a file":               filepath.Join(file, "test.sock"),
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := unixsocket.Listen(t.Context(), socket, "")
			if err == nil {
				_ = listener.Close()
				t.Fatal("there was no error")
			}
			if !strings.Contains(err.Error(), socket) {
				t.Errorf("the error %q does not name %s", err, socket)
			}
		})
	}
}

// The socket admits the same users as the runtime's.
func TestListenFollowsTheRuntimesSocket(t *testing.T) {
	for _, mode := range []fs.FileMode{0o600, 0o660, 0o606, 0o777} {
		t.Run(mode.String(), func(t *testing.T) {
			runtimeSocket := temporarySocket(t)
			leaveStale(t, runtimeSocket)
			owner, group := os.Geteuid(), os.Getegid()
			if owner == 0 {
				owner, group = 1234, 5678
			}
			if err := errors.Join(os.Chmod(runtimeSocket, mode), os.Chown(runtimeSocket, owner, group)); err != nil {
				t.Fatal(err)
			}
			socket := temporarySocket(t)
			listen(t, socket, runtimeSocket)
			expectRights(t, socket, mode, owner, group)
		})
	}
}

func TestListenWithoutTheRuntimesSocket(t *testing.T) {
	socket := temporarySocket(t)
	listen(t, socket, temporarySocket(t))
	expectRights(t, socket, 0o660, os.Geteuid(), os.Getegid())
}

// TestListenWithoutProc reruns itself with an empty /proc. That needs Linux 6.6; an older
// kernel gets an error that says so.
func TestListenWithoutProc(t *testing.T) {
	const hidden = "UNIXSOCKET_TEST_HIDE_PROC"
	if os.Getenv(hidden) == "" {
		if os.Geteuid() != 0 {
			t.Skip("only root can hide /proc")
		}
		command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		command.Env = append(os.Environ(), hidden+"=1")
		command.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		output, err := command.CombinedOutput()
		if errors.Is(err, syscall.EPERM) {
			t.Skip("this root may not hide /proc")
		}
		if err != nil || !strings.Contains(string(output), "--- PASS") {
			t.Errorf("%v\n%s", err, output)
		}
		return
	}
	if err := syscall.Mount("tmpfs", "/proc", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	socket := temporarySocket(t)
	listener, err := unixsocket.Listen(t.Context(), socket, "")
	if errors.Is(err, syscall.EOPNOTSUPP) && strings.Contains(err.Error(), "/proc or Linux 6.6") {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	expectRights(t, socket, 0o660, 0, 0)
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
}

func expectRights(t *testing.T, socket string, mode fs.FileMode, owner, group int) {
	t.Helper()
	file, err := os.Lstat(socket)
	if err != nil {
		t.Fatal(err)
	}
	system := file.Sys().(*syscall.Stat_t)
	if file.Mode() != fs.ModeSocket|mode || int(system.Uid) != owner || int(system.Gid) != group {
		t.Errorf("the socket is %v %d:%d, want %v %d:%d", file.Mode(), system.Uid, system.Gid, fs.ModeSocket|mode, owner, group)
	}
}

// A listener leaves its socket file if another process has replaced it.
func TestCloseKeepsAnothersSocket(t *testing.T) {
	socket := temporarySocket(t)
	first := listen(t, socket, "")
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	listen(t, socket, "")
	if err := first.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	expectAnswer(t, socket)
}
