package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// StateFolder is the folder of the agent's state on the node.
const StateFolder = "/var/lib/image-cri-shim-agent"

// Owner is the user and group of a file.
type Owner struct{ UID, GID int }

// OwnerOf returns the owner of the file that info describes.
func OwnerOf(info fs.FileInfo) Owner {
	if system, ok := info.Sys().(*syscall.Stat_t); ok {
		return Owner{int(system.Uid), int(system.Gid)}
	}
	return Owner{}
}

// Temporary returns the path at which the functions of this package prepare the file at path.
// If the process is killed, the temporary file may remain.
func Temporary(path string) string { return path + ".image-cri-shim-agent" }

// WriteFile replaces the file at path by one of this process's user. If a file with this
// content, mode and owner exists already, WriteFile leaves it untouched. A symbolic link at
// path is replaced, not followed.
func WriteFile(path string, content []byte, mode fs.FileMode) (changed bool, err error) {
	return WriteFileFor(Owner{os.Geteuid(), os.Getegid()}, path, content, mode)
}

// WriteFileFor is [WriteFile] for a file with another owner.
func WriteFileFor(owner Owner, path string, content []byte, mode fs.FileMode) (changed bool, err error) {
	info, err := os.Lstat(path)
	if err == nil && info.Mode() == mode && OwnerOf(info) == owner && info.Size() == int64(len(content)) {
		if now, err := os.ReadFile(path); err == nil && bytes.Equal(now, content) {
			return false, nil
		}
	}
	if err := replace(owner, path, bytes.NewReader(content), mode); err != nil {
		return false, err
	}
	return true, nil
}

// CopyFile replaces the file at path as [WriteFile] does, with the content of source.
func CopyFile(path string, source io.Reader, mode fs.FileMode) error {
	return replace(Owner{os.Geteuid(), os.Getegid()}, path, source, mode)
}

func replace(owner Owner, path string, source io.Reader, mode fs.FileMode) (err error) {
	temporary := Temporary(path)
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
			_ = os.Remove(temporary)
		}
	}()
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, source); err != nil {
		return errors.Join(err, file.Close())
	}
	// chmod follows chown, which clears the set-user-ID bit.
	if err := errors.Join(file.Chown(owner.UID, owner.GID), file.Chmod(mode), file.Sync(), file.Close()); err != nil {
		return err
	}
	return move(temporary, path)
}

// ReplaceSymlink makes the file at path a symbolic link to target. It replaces an existing link
// or file atomically.
func ReplaceSymlink(path, target string) (changed bool, err error) {
	if now, err := os.Readlink(path); err == nil && now == target {
		return false, nil
	}
	temporary := Temporary(path)
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("link %s: %w", path, err)
	}
	if err := os.Symlink(target, temporary); err != nil {
		return false, fmt.Errorf("link %s: %w", path, err)
	}
	if err := move(temporary, path); err != nil {
		return false, fmt.Errorf("link %s: %w", path, errors.Join(err, os.Remove(temporary)))
	}
	return true, nil
}

// move renames a file and writes its folder to the disk.
func move(from, to string) error {
	if err := unix.Rename(from, to); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(to))
}

// Remove removes the file at path, and the temporary file of a write that was interrupted.
// Missing files are no error.
func Remove(path string) error {
	for _, file := range []string{Temporary(path), path} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
			return err
		}
	}
	return nil
}

// SyncFolder writes the entries of a folder to the disk, so that they survive a power failure.
func SyncFolder(folder string) error {
	opened, err := os.Open(folder)
	if err != nil {
		return err
	}
	err = opened.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) { // the file system has no such operation
		err = nil
	}
	return errors.Join(err, opened.Close())
}
