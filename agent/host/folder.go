package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Folder is a folder in which the agent installs files. It may be missing.
type Folder struct {
	Path       string
	Executable bool   // the folder contains programs
	Remedy     string // for a node on which the agent can't use the folder
}

// CheckFolders returns an error unless the agent can use all folders below root. It changes
// nothing. If a folder is lost at a reboot, all must be: otherwise kubelet's files would name the
// socket of a shim that no longer exists.
func CheckFolders(root string, folders ...Folder) error {
	inMemory := make([]bool, len(folders))
	for i, f := range folders {
		var err error
		if inMemory[i], err = f.check(root); err != nil {
			return f.refuse(err)
		}
	}
	for i, f := range folders {
		if inMemory[i] && slices.Contains(inMemory, false) {
			return f.refuse(errors.New("it is in memory and lost at a reboot, but kubelet's files are not"))
		}
	}
	return nil
}

func (f Folder) refuse(cause error) error {
	return fmt.Errorf("the agent can't install files in %s: %w; %s; %s", f.Path, cause, f.Remedy, keepOffHint)
}

// check returns an error if the folder can't be used, and reports whether it is in memory.
func (f Folder) check(root string) (inMemory bool, err error) {
	path, err := nearest(filepath.Join(root, f.Path))
	if err != nil {
		return false, err
	}
	// access(2) also finds an immutable folder. It permits root everything else.
	if err := unix.Access(path, unix.W_OK); errors.Is(err, unix.EROFS) {
		return false, errors.New("it is on a read-only file system")
	} else if err != nil {
		return false, fmt.Errorf("%s can't be written to: %w", path, err)
	}
	var system unix.Statfs_t
	if err := unix.Statfs(path, &system); err != nil {
		return false, fmt.Errorf("read the file system of %s: %w", path, err)
	}
	if f.Executable && system.Flags&unix.ST_NOEXEC != 0 {
		return false, errors.New("its file system is mounted noexec, so the shim can't run from there")
	}
	return system.Type == unix.TMPFS_MAGIC || system.Type == unix.RAMFS_MAGIC, nil
}

// nearest returns path, or the nearest folder above it that exists. It returns an error if
// something else is in the place of a folder, because the missing ones can't be created below it.
func nearest(path string) (string, error) {
	for ; path != "/"; path = filepath.Dir(path) {
		link, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return "", err
		}
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && link.Mode().Type() == fs.ModeSymlink:
			return "", fmt.Errorf("%s is a symbolic link to a folder that does not exist", path)
		case err != nil:
			return "", err
		case !info.IsDir():
			return "", fmt.Errorf("%s is not a folder", path)
		}
		return path, nil
	}
	return path, nil
}
