// Package unixsocket opens unix sockets safely, also in folders that other users may write to
// and beside other processes that open the same socket, and identifies the process at the
// other end of a connection.
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

// Listen opens a unix socket for the users that may connect to another one, model, which
// need not exist.
//
// Missing parent folders are created. A socket file without a listening process is
// replaced. A socket in use, and any file that is not a socket, is an error and stays.
// Owner, group and mode become those of model, or root's and 0660 if model can't be read;
// without root's rights only the mode does. Until then only the owner can connect. Closing
// the listener removes the file, unless the file has been replaced.
//
// If several processes open the same socket at the same moment, one gets it and the others
// get an error. They take turns by a lock file beside the socket, its name with ".lock"
// appended, which is removed again.
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
	l := &listener{UnixListener: bound.(*net.UnixListener), path: socket}
	l.SetUnlinkOnClose(false)
	if err := l.setUp(grant); err != nil {
		return nil, errors.Join(fmt.Errorf("set up socket %s: %w", socket, err), l.Close())
	}
	return l, nil
}

// setUp records the socket's file, and calls grant to set its owner and mode. Both use one
// descriptor of the file, not its path: in a folder that other users may write to, the file
// at the path may be replaced at any time.
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
		return errors.New("another process has replaced it")
	}
	l.file = info
	return grant(file)
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

// listener removes its own file, and no other, when it is closed.
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
