package unixsocket

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lockTimeout bounds the wait for other processes that set up the same socket. Each needs
	// about a second at most.
	lockTimeout = 10 * time.Second
	lockPause   = 5 * time.Millisecond
)

// lockSocket prevents other processes from setting up the same socket until unlock is called.
// It locks a file beside the socket with flock(2); unlock removes the file. If a process dies,
// the kernel releases its lock, and the next process reuses the file.
func lockSocket(ctx context.Context, socket string) (unlock func(), err error) {
	path := socket + ".lock"
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	for {
		file, err := tryLock(path)
		if err != nil {
			return nil, fmt.Errorf("lock socket %s: %w", socket, err)
		}
		if file != nil {
			return func() {
				_ = os.Remove(path) // before releasing the lock: the next process creates a new file
				_ = file.Close()
			}, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock socket %s: another process holds %s, wait for it or stop it: %w", socket, path, ctx.Err())
		case <-time.After(lockPause):
		}
	}
}

// tryLock returns the locked file, or nil if the caller must try again, for example because
// another process holds the lock.
func tryLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil && isFileAt(file, path) {
		return file, nil
	}
	_ = file.Close()
	if err == nil || errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
		return nil, nil
	}
	return nil, fmt.Errorf("flock %s: %w", path, err)
}

// isFileAt reports whether path still leads to file. The previous holder of the lock may have
// removed it.
func isFileAt(file *os.File, path string) bool {
	opened, err := file.Stat()
	if err != nil {
		return false
	}
	found, err := os.Lstat(path)
	return err == nil && os.SameFile(opened, found)
}
