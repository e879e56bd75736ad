package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const lockPause = 200 * time.Millisecond

// Lock locks the file at path, which it creates, with flock(2). It waits for another holder
// until ctx ends; the error then names the holder's process. The kernel releases the lock of
// a process that ends.
func Lock(ctx context.Context, path string) (release func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock %s: %s holds it; wait until it ends, or stop it: %w", path, holder(file), ctx.Err()), file.Close())
		case <-time.After(lockPause):
		}
	}
	// The ID is only informative: a reader may find that of the former holder.
	if err := file.Truncate(0); err == nil {
		_, _ = file.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	return func() { _ = file.Close() }, nil
}

// holder describes the process that the lock file names.
func holder(file *os.File) string {
	var content [32]byte
	n, _ := file.ReadAt(content[:], 0)
	if id := strings.TrimSpace(string(content[:n])); id != "" {
		return "process " + id
	}
	return "another process"
}
