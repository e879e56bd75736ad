// Package statedir reads and writes files in the state directory.
//
//	folder, err := statedir.Open("/var/lib/image-cri-shim", statedir.Owners())
//	content, err := statedir.ReadFile(folder, statedir.Owners(), "ledger.json", limit)
//
// It rejects directories and files that other users may write to, because the ledger there
// decides which image a name means.
package statedir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// PermissionError reports that users other than the allowed owners may write to the state
// directory or to a file in it. Such a directory or file is not read.
type PermissionError struct {
	Problem string // describes the wrong owner or mode
	Remedy  string // shell command that corrects it
}

// Error implements error.
func (e *PermissionError) Error() string { return e.Problem + ", run: " + e.Remedy }

// Check opens the state directory as a shim that runs as user does, and returns the error,
// which may be a [PermissionError].
func Check(directory string, user int) error {
	folder, err := Open(directory, []int{user, 0})
	if err != nil {
		return err
	}
	return folder.Close()
}

// Open opens the state directory. Symbolic links that lead out of it are not followed. The
// error is a [PermissionError] if users other than owners may write to the directory.
func Open(directory string, owners []int) (*os.Root, error) {
	folder, err := os.OpenRoot(directory)
	if err != nil {
		return nil, err
	}
	info, err := folder.Stat(".")
	if err == nil {
		err = onlyFor(owners, directory, info)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", directory, err), folder.Close())
	}
	return folder, nil
}

// Owners returns the users that may own the files: the current user and root.
func Owners() []int { return []int{os.Geteuid(), 0} }

// OwnersOf returns the owner of a state directory. It is for commands that only read the
// directory and may run as another user than the shim.
func OwnersOf(directory string) []int {
	if info, err := os.Stat(directory); err == nil {
		if system, ok := info.Sys().(*syscall.Stat_t); ok {
			return []int{int(system.Uid)}
		}
	}
	return Owners()
}

// onlyFor returns a [PermissionError] if users other than owners may write to the file at
// path. owners[0] is the user that the shim runs as.
func onlyFor(owners []int, path string, info fs.FileInfo) error {
	if system, ok := info.Sys().(*syscall.Stat_t); ok && !slices.Contains(owners, int(system.Uid)) {
		return &PermissionError{
			fmt.Sprintf("owned by user %d, but the shim runs as user %d", system.Uid, owners[0]),
			fmt.Sprintf("chown %d %s", owners[0], path),
		}
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return &PermissionError{fmt.Sprintf("writable by other users (mode %04o)", mode), "chmod go-w " + path}
	}
	return nil
}

// ReadFile reads a regular file of at most limit bytes. The error is a [PermissionError] if
// users other than owners may write to the file, and wraps [ErrDamaged] if the file is not
// regular or is larger than limit.
func ReadFile(folder *os.Root, owners []int, name string, limit int64) ([]byte, error) {
	file, err := folder.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a pipe would wait for a writer
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: not a regular file", ErrDamaged)
	}
	if err := onlyFor(owners, file.Name(), info); err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(content)) > limit {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrDamaged, limit)
	}
	return content, err
}

// WriteFile replaces a file atomically. After a crash it has either the old or the new
// content.
func WriteFile(folder *os.Root, name string, content []byte) error {
	temporary := name + ".new"
	// A crash or another user may have left a file there. Remove it, since it may be a link
	// to another file.
	if err := folder.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := folder.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, folder.Remove(temporary)) // the disk may be full
	}
	if err = folder.Rename(temporary, name); err != nil {
		return err
	}
	// Sync the directory, so that the new name is on disk too.
	itself, err := folder.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(itself.Sync(), itself.Close())
}

// ErrDamaged reports that the content of a file can't be used.
var ErrDamaged = errors.New("damaged file")
