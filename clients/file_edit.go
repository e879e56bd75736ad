package clients

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// sizeLimit bounds the files that are read, in bytes.
const sizeLimit = 1 << 20

// fileEdit is the content of a file and its planned change.
type fileEdit struct {
	file     file
	content  string
	settings []setting
	change   Change
}

// readFiles reads all files of a client. A missing file has no settings.
func readFiles(c client) (edits []*fileEdit, err error) {
	var problems []error
	for _, f := range c.files {
		e, err := readFile(f)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", f.path, err))
			continue
		}
		edits = append(edits, e)
	}
	return edits, errors.Join(problems...)
}

func readFile(f file) (*fileEdit, error) {
	e := &fileEdit{file: f, change: Change{Path: f.path}}
	backup, _, err := readRegular(e.change.backupPath())
	switch {
	case err == nil:
		e.change.backup, e.change.backupAfter = &backup, &backup
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("its backup: %w", err)
	}
	if f.readOnly {
		return e.readUnit()
	}
	e.content, e.change.info, err = readRegular(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		e.change.Missing = true
		return e, nil
	}
	if err != nil {
		return nil, err
	}
	e.change.content, e.change.after = e.content, e.content
	e.settings, err = f.format.find(e.content)
	return e, err
}

// create plans a missing file.
func (e *fileEdit) create(shim string) {
	backup := absent
	if _, err := os.Stat(filepath.Dir(e.file.path)); errors.Is(err, fs.ErrNotExist) {
		backup = absentFolder
	}
	e.change.after, e.change.backupAfter = fmt.Sprintf(e.file.initial, shim), &backup
}

// isCreated reports whether Install created the file for one of the shim's sockets, and nothing
// was added since.
func (e *fileEdit) isCreated(sockets []string) bool {
	return e.file.initial != "" && e.change.wasAbsent() && slices.ContainsFunc(sockets, func(socket string) bool {
		return e.content == fmt.Sprintf(e.file.initial, socket)
	})
}

// readUnit reads a file that is never edited. Unlike the others, it may be a symbolic link.
func (e *fileEdit) readUnit() (*fileEdit, error) {
	content, err := os.ReadFile(e.file.path)
	if errors.Is(err, fs.ErrNotExist) {
		e.change.Missing = true
		return e, nil
	}
	if err != nil {
		return nil, err
	}
	e.content = string(content)
	e.change.content, e.change.after = e.content, e.content
	e.settings, err = e.file.format.find(e.content)
	return e, err
}

// readRegular reads a regular file, which rename(2) can replace, and rejects links and devices.
// It checks the opened file rather than the path, since the path may lead to another file
// meanwhile.
func readRegular(path string) (string, fs.FileInfo, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		target, _ := os.Readlink(path)
		return "", nil, fmt.Errorf("is a symbolic link to %s: name that file instead", target)
	}
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	switch {
	case err != nil:
		return "", nil, err
	case !info.Mode().IsRegular():
		return "", nil, errors.New("is not a regular file")
	case info.Size() > sizeLimit:
		return "", nil, errors.New("is larger than 1 MiB, the limit for such files")
	}
	content, err := io.ReadAll(io.LimitReader(file, sizeLimit))
	return string(content), info, err
}

// rawValue returns the text of a setting's value, with its quotes.
func (e *fileEdit) rawValue(at setting) string { return e.content[at.start:at.end] }

func (e *fileEdit) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", e.file.path, err)
}
