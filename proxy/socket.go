package proxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listen opens the unix socket that clients use in place of runtimeSocket.
//
// Missing parent folders are created. A socket file that nobody answers on is
// replaced; one that somebody answers on, and anything that is not a socket, is
// an error and stays. Owner, group and mode become those of runtimeSocket, or
// root's and 0660 where that can't be read; without root's rights only the mode
// follows. Until then nobody but the owner can connect. Closing the listener
// removes the file, unless another has taken its place.
//
// Of several processes that open the same socket at the same moment one gets it, and the
// others an error. They take turns by a file beside the socket, its name with ".lock"
// appended, which is removed again.
func Listen(ctx context.Context, socket, runtimeSocket string) (net.Listener, error) {
	return listen(ctx, socket, func(file *os.File) error { return followRuntime(file, runtimeSocket) })
}

// ListenPrivate is [Listen] for a socket that only its owner can connect to.
func ListenPrivate(ctx context.Context, socket string) (net.Listener, error) {
	return listen(ctx, socket, func(*os.File) error { return nil })
}

func listen(ctx context.Context, socket string, open func(*os.File) error) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return nil, fmt.Errorf("create the folder of socket %s: %w", socket, err)
	}
	unlock, err := lockSocket(ctx, socket)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(ctx, socket); err != nil {
		return nil, err
	}
	// The mode of a bound socket file comes from the socket's own inode, so that
	// the file never exists with a wider one.
	private := net.ListenConfig{Control: func(_, _ string, connection syscall.RawConn) error {
		var chmodError error
		controlError := connection.Control(func(descriptor uintptr) {
			chmodError = unix.Fchmod(int(descriptor), 0o600)
		})
		return errors.Join(controlError, chmodError)
	}}
	bound, err := private.Listen(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen on socket %s: %w", socket, err)
	}
	listener := &socketListener{UnixListener: bound.(*net.UnixListener), path: socket}
	listener.SetUnlinkOnClose(false)
	if err := listener.setUp(open); err != nil {
		return nil, errors.Join(fmt.Errorf("set up socket %s: %w", socket, err), listener.Close())
	}
	return listener, nil
}

// setUp remembers the socket's file, and lets open say who may connect to it. The file
// is the one that lies at the path now, not what the path leads to later: in a folder
// that others may write to it may be replaced at any time.
func (l *socketListener) setUp(open func(*os.File) error) error {
	file, err := os.OpenFile(l.path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	system, ok := info.Sys().(*syscall.Stat_t)
	if info.Mode().Type() != fs.ModeSocket || ok && int(system.Uid) != os.Geteuid() {
		return errors.New("another process has replaced it")
	}
	l.file = info
	return open(file)
}

// removeStale makes room for a socket. The caller holds the socket's lock: without it, the
// file that is removed could be the fresh one of another process.
func removeStale(ctx context.Context, socket string) error {
	file, err := os.Lstat(socket)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at socket %s: %w", socket, err)
	}
	if file.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s exists and is not a socket: remove it, or choose another path", socket)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err == nil {
		_ = connection.Close()
		return fmt.Errorf("socket %s is in use: another process answers on it; stop that one first, or choose another path", socket)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("socket %s exists and can't be told to be unused: %w", socket, err)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the stale socket %s: %w", socket, err)
	}
	return nil
}

// followRuntime lets the same users open a socket's file as open runtimeSocket.
func followRuntime(file *os.File, runtimeSocket string) error {
	owner, group, mode := 0, 0, fs.FileMode(0o660)
	if info, err := os.Stat(runtimeSocket); err == nil {
		mode = info.Mode().Perm()
		if system, ok := info.Sys().(*syscall.Stat_t); ok {
			owner, group = int(system.Uid), int(system.Gid)
		}
	}
	descriptor := int(file.Fd())
	if os.Geteuid() == 0 {
		if err := unix.Fchownat(descriptor, "", owner, group, unix.AT_EMPTY_PATH); err != nil {
			return fmt.Errorf("change its owner: %w", err)
		}
	}
	// fchmod(2) takes no descriptor of O_PATH; this leads to the same file (proc(5)).
	err := os.Chmod(fmt.Sprintf("/proc/self/fd/%d", descriptor), mode)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := unix.Fchmodat(descriptor, "", uint32(mode), unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("change its mode: it needs /proc, or Linux 6.6: %w", err)
	}
	return nil
}

// socketListener removes its own file, and no other, when it is closed.
type socketListener struct {
	*net.UnixListener
	path   string
	file   fs.FileInfo
	remove sync.Once
}

// Close ends the listener and removes its socket file.
func (l *socketListener) Close() error {
	l.remove.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(l.file, now) {
			_ = os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}
