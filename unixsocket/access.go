package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// copyAccess gives a socket file the owner, group and mode of model, or root, root and 0660 if
// model can't be read. Without root's rights it sets only the mode.
func copyAccess(file *os.File, model string) error {
	owner, group, mode := 0, 0, fs.FileMode(0o660)
	if info, err := os.Stat(model); err == nil {
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
	// fchmod(2) rejects O_PATH descriptors. The path in /proc leads to the same file (proc(5)).
	err := os.Chmod(fmt.Sprintf("/proc/self/fd/%d", descriptor), mode)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := unix.Fchmodat(descriptor, "", uint32(mode), unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("change its mode (needs /proc or Linux 6.6): %w", err)
	}
	return nil
}
