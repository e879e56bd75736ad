package clients

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// sizeLimit is far above what such files are.
const sizeLimit = 1 << 20

// state is a file as it is, and what is to become of it.
type state struct {
	file     file
	content  string
	settings []setting
	change   Change
}

// read looks at all files of a client. One that doesn't exist has no settings.
func read(c client) (states []*state, err error) {
	var problems []error
	for _, f := range c.files {
		s, err := readFile(f)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", f.path, err))
			continue
		}
		states = append(states, s)
	}
	return states, errors.Join(problems...)
}

func readFile(f file) (*state, error) {
	s := &state{file: f, change: Change{Path: f.path}}
	backup, _, err := readRegular(s.change.backupPath())
	switch {
	case err == nil:
		s.change.backup, s.change.backupAfter = &backup, &backup
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("its backup: %w", err)
	}
	if f.readOnly {
		return s.readUnit()
	}
	s.content, s.change.info, err = readRegular(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		s.change.Missing = true
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	s.change.content, s.change.after = s.content, s.content
	s.settings, err = f.format.find(s.content)
	return s, err
}

// readUnit reads a file that is not edited, so that it may be a link.
func (s *state) readUnit() (*state, error) {
	content, err := os.ReadFile(s.file.path)
	if errors.Is(err, fs.ErrNotExist) {
		s.change.Missing = true
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	s.content = string(content)
	s.change.content, s.change.after = s.content, s.content
	s.settings, err = s.file.format.find(s.content)
	return s, err
}

// readRegular reads a file that rename(2) can replace: no link, no device. It looks at
// what it has opened, whatever is put at the path meanwhile.
func readRegular(path string) (string, fs.FileInfo, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		target, _ := os.Readlink(path)
		return "", nil, fmt.Errorf("is a link to %s: name that file", target)
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
		return "", nil, errors.New("is no regular file")
	case info.Size() > sizeLimit:
		return "", nil, errors.New("is larger than 1 MiB, which no such file is")
	}
	content, err := io.ReadAll(io.LimitReader(file, sizeLimit))
	return string(content), info, err
}

// text is what stands where a setting's value is, with its quotes.
func (s *state) text(at setting) string { return s.content[at.start:at.end] }

func (s *state) problem(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", s.file.path, err)
}
