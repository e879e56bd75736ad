// Package statedir reads and writes files in the state directory. It refuses a directory,
// and a file in it, that other users may write to: the ledger there decides which image a
// name means.
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

// PermissionError is the error for a state directory, or a file in it, that users other
// than its owners may write to. Nothing is read from it.
type PermissionError struct {
	Problem string // the owner or the mode
	Remedy  string // the command that mends it
}

// Error implements error.
func (e *PermissionError) Error() string { return e.Problem + ", do: " + e.Remedy }

// Check returns the error with which a shim that runs as user fails to open its state
// directory: a [PermissionError], or another. It returns nil if the directory can be used.
func Check(directory string, user int) error {
	folder, err := Open(directory, []int{user, 0})
	if err != nil {
		return err
	}
	return folder.Close()
}

// Open opens the state directory. Links in it that lead out of it are not followed. The
// error is a [PermissionError] if users other than owners may write to it.
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

// Owners returns the users that may own the files: the current one and root.
func Owners() []int { return []int{os.Geteuid(), 0} }

// OwnersOf returns the owner of a state directory. A command that only reads the directory
// may run as another user than the shim.
func OwnersOf(directory string) []int {
	if info, err := os.Stat(directory); err == nil {
		if system, ok := info.Sys().(*syscall.Stat_t); ok {
			return []int{int(system.Uid)}
		}
	}
	return Owners()
}

// onlyFor returns a [PermissionError] if users other than owners may write to a file. The
// first of owners is the shim's user.
func onlyFor(owners []int, path string, info fs.FileInfo) error {
	if system, ok := info.Sys().(*syscall.Stat_t); ok && !slices.Contains(owners, int(system.Uid)) {
		return &PermissionError{
			fmt.Sprintf("it belongs to user %d, and the shim's user is %d", system.Uid, owners[0]),
			fmt.Sprintf("chown %d %s", owners[0], path),
		}
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return &PermissionError{fmt.Sprintf("others may write to it (mode %04o)", mode), "chmod go-w " + path}
	}
	return nil
}

// ReadFile reads a regular file of at most limit bytes. The error is a [PermissionError] if
// users other than owners may write to it, and [ErrDamaged] if it is no such file.
func ReadFile(folder *os.Root, owners []int, name string, limit int64) ([]byte, error) {
	file, err := folder.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would wait for its writer
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is no regular file", ErrDamaged)
	}
	if err := onlyFor(owners, file.Name(), info); err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(content)) > limit {
		return nil, fmt.Errorf("%w: it is larger than %d bytes", ErrDamaged, limit)
	}
	return content, err
}

// WriteFile replaces a file atomically: after a crash it has the old or the new content.
func WriteFile(folder *os.Root, name string, content []byte) error {
	temporary := name + ".new"
	// A file that a crash has left, or that another user has put there, is removed first: it
	// may be a link to another file.
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
		return errors.Join(err, folder.Remove(temporary)) // it takes space on a disk that may be full
	}
	if err = folder.Rename(temporary, name); err != nil {
		return err
	}
	// The new name is on disk once the folder is.
	itself, err := folder.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(itself.Sync(), itself.Close())
}

// ErrDamaged is the error for a file whose content can't be used.
var ErrDamaged = errors.New("it is damaged")
