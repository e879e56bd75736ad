package rewrite

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// openFolder opens the state directory. What is done through it is done there,
// whatever takes its place or lies in it: links out of it are not followed. One that
// others may write to is refused, for who writes the ledger says which image a name
// means.
func openFolder(directory string) (*os.Root, error) {
	folder, err := os.OpenRoot(directory)
	if err != nil {
		return nil, err
	}
	info, err := folder.Stat(".")
	if err == nil {
		err = onlyOurs(directory, info)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", directory, err), folder.Close())
	}
	return folder, nil
}

// onlyOurs tells whether nobody writes a file but root and this process's user.
func onlyOurs(path string, info fs.FileInfo) error {
	if system, ok := info.Sys().(*syscall.Stat_t); ok && system.Uid != 0 && int(system.Uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to user %d, do: chown root %s", system.Uid, path)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("others may write to it (mode %04o), do: chmod go-w %s", mode, path)
	}
	return nil
}

// readBounded reads a regular file that only we write.
func readBounded(folder *os.Root, name string, limit int64) ([]byte, error) {
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
	if err := onlyOurs(file.Name(), info); err != nil {
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
		return err
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
