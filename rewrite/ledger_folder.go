package rewrite

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// Exposed says that the shim takes nothing from its state directory, or a file in it,
// because somebody else may write to it: who writes the ledger says which image a name
// means.
type Exposed struct {
	Problem string // who may
	Remedy  string // the command that ends it
}

// Error implements error.
func (e *Exposed) Error() string { return e.Problem + ", do: " + e.Remedy }

// CheckFolder tells what keeps a shim that runs as a user from its state directory: an
// [Exposed], or that it can't be opened.
func CheckFolder(directory string, user int) error {
	folder, err := openFolder(directory, []int{user, 0})
	if err != nil {
		return err
	}
	return folder.Close()
}

// openFolder opens the state directory. What is done through it is done there,
// whatever takes its place or lies in it: links out of it are not followed. One that
// others than its owners may write to is refused.
func openFolder(directory string, owners []int) (*os.Root, error) {
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

// ours is the users that the shim shares its files with: itself and root.
func ours() []int { return []int{os.Geteuid(), 0} }

// theirs is the user whose ledger a state directory holds: who looks at it may be
// another than who runs the shim.
func theirs(directory string) []int {
	if info, err := os.Stat(directory); err == nil {
		if system, ok := info.Sys().(*syscall.Stat_t); ok {
			return []int{int(system.Uid)}
		}
	}
	return ours()
}

// onlyFor tells whether nobody writes a file but its owners, of which the first is the
// shim's user.
func onlyFor(owners []int, path string, info fs.FileInfo) error {
	if system, ok := info.Sys().(*syscall.Stat_t); ok && !slices.Contains(owners, int(system.Uid)) {
		return &Exposed{
			fmt.Sprintf("it belongs to user %d, and the shim's user is %d", system.Uid, owners[0]),
			fmt.Sprintf("chown %d %s", owners[0], path),
		}
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return &Exposed{fmt.Sprintf("others may write to it (mode %04o)", mode), "chmod go-w " + path}
	}
	return nil
}

// readBounded reads a regular file that only its owners write.
func readBounded(folder *os.Root, owners []int, name string, limit int64) ([]byte, error) {
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
		return nil, fmt.Errorf("%w: it is no regular file", errDamaged)
	}
	if err := onlyFor(owners, file.Name(), info); err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(content)) > limit {
		return nil, fmt.Errorf("%w: it is larger than %d bytes", errDamaged, limit)
	}
	return content, err
}

// replaceFile makes content a file's, all of it or, on a crash, none of it.
func replaceFile(folder *os.Root, name string, content []byte) error {
	temporary := name + ".new"
	// What a crash has left, or somebody has put there, is not written to: it may be
	// another file's name too.
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
