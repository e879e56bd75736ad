package clients

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Revert restores the content of the file and of its backup from before Apply. It restores
// nothing if the file was edited since.
func (c *Change) Revert() error {
	if c.info == nil && !c.Created() {
		return nil // the file does not exist, or is never edited
	}
	now, _, err := readRegular(c.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.Created():
	case errors.Is(err, fs.ErrNotExist) && c.Removed():
		if err := c.write(c.Path, c.content); err != nil {
			return err
		}
	case err != nil:
		return err
	case now != c.after && now != c.content:
		return errors.New("the file was edited meanwhile: restore its endpoint by hand")
	case c.Created():
		if err := os.Remove(c.Path); err != nil {
			return err
		}
	case now != c.content:
		if err := c.write(c.Path, c.content); err != nil {
			return err
		}
	}
	backup, _, err := readRegular(c.backupPath())
	switch {
	case c.backup == nil && errors.Is(err, fs.ErrNotExist), c.backup != nil && err == nil && backup == *c.backup:
		return nil // also on a read-only file system
	case c.backup == nil:
		return c.removeBackup(backup)
	}
	return c.write(c.backupPath(), *c.backup)
}

// RevertAll reverts changes, the last one first.
func RevertAll(changes []Change) error {
	var problems []error
	for i := len(changes) - 1; i >= 0; i-- {
		if err := changes[i].Revert(); err != nil {
			problems = append(problems, fmt.Errorf("restore %s: %w", changes[i].Path, err))
		}
	}
	return errors.Join(problems...)
}
