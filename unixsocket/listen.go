// Package unixsocket listens on unix sockets and identifies the process at the other end of a
// connection. Listening is safe in folders that other users can write to, and while other
// processes open the same socket.
package unixsocket

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

// Listen listens on a unix socket that has the owner, group and mode of another socket, model.
// model need not exist.
//
// Missing parent folders are created. A socket file without a listening process is replaced. If
// the socket is in use, or the file is not a socket, Listen returns an error and leaves the
// file. If model can't be read, the owner and group are root and the mode is 0660. A process
// without root's rights sets only the mode. Before the owner and mode are set, only the user
// that created the socket can connect. Closing the listener removes the file, unless another
// file has replaced it.
//
// If several processes call Listen for the same socket at once, one succeeds and the others get
// an error. A lock file beside the socket, named like the socket with ".lock" appended,
// serializes the calls. Listen removes it before it returns.
func Listen(ctx context.Context, socket, model string) (net.Listener, error) {
	return listen(ctx, socket, func(file *os.File) error { return copyAccess(file, model) })
}

// ListenPrivate is [Listen] for a socket that only its owner can connect to.
func ListenPrivate(ctx context.Context, socket string) (net.Listener, error) {
	return listen(ctx, socket, func(*os.File) error { return nil })
}

func listen(ctx context.Context, socket string, grant func(*os.File) error) (net.Listener, error) {
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
	// bind(2) gives the file the mode of the socket's descriptor. The mode is set before bind,
	// so the file never exists with wider permissions.
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
	l := &listener{UnixListener: bound.(*net.UnixListener), path: socket}
	l.SetUnlinkOnClose(false)
	if err := l.setUp(grant); err != nil {
		return nil, errors.Join(fmt.Errorf("set up socket %s: %w", socket, err), l.Close())
	}
	return l, nil
}

// setUp records the socket file, and calls grant to set its owner and mode. Both use one
// descriptor of the file instead of its path: in a folder that other users can write to, the
// file at the path may be replaced at any time.
func (l *listener) setUp(grant func(*os.File) error) error {
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
		return errors.New("another process has replaced it; use a folder that no other user can write to")
	}
	l.file = info
	return grant(file)
}

// ErrInUse is returned if another process listens on the socket.
var ErrInUse = errors.New("is in use")

// removeStale removes a socket file without a listening process. The caller holds the socket's
// lock. Without the lock, removeStale could remove a file that another process has just
// created.
func removeStale(ctx context.Context, socket string) error {
	file, err := os.Lstat(socket)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("check socket %s: %w", socket, err)
	}
	if file.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s exists and is not a socket: remove it, or choose another path", socket)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err == nil {
		_ = connection.Close()
		return fmt.Errorf("socket %s %w: another process listens on it; stop that process or choose another path", socket, ErrInUse)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("socket %s exists and may be in use; if no process uses it, remove it: %w", socket, err)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the stale socket %s: %w", socket, err)
	}
	return nil
}

// listener removes its socket file when it is closed, unless another file has replaced it.
type listener struct {
	*net.UnixListener
	path   string
	file   fs.FileInfo
	remove sync.Once
}

// Close ends the listener and removes its socket file.
func (l *listener) Close() error {
	l.remove.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(l.file, now) {
			_ = os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}
