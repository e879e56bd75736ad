package clients

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/diff"
)

// backupSuffix is appended to the path of an edited file to name its backup, which holds the
// former content.
const backupSuffix = ".image-cri-shim.bak"

// temporarySuffix is appended to the path of a file for its next content, until that replaces the
// file. kubelet reads no file with this suffix from a folder of drop-ins. A process that is
// killed leaves the file, and the next change of any of them removes it.
const temporarySuffix = ".image-cri-shim.tmp"

// The content of the backup of a file that Install created, without and with its folder.
const (
	absent       = "# This file did not exist before image-cri-shim install.\n"
	absentFolder = "# This file and its folder did not exist before image-cri-shim install.\n"
)

// Change is a planned edit of a file. It may create or remove the file.
type Change struct {
	Path    string
	Missing bool // the file does not exist yet
	// Unknown are the settings that Uninstall sets to the runtime, since their former values
	// are unknown.
	Unknown []string
	// Problem is the reason why Uninstall or ApplyAll leaves crictl's file as it is. It does
	// not prevent the changes of kubelet's files.
	Problem error

	alone               bool // its failure does not prevent other changes
	info                fs.FileInfo
	content, after      string
	backup, backupAfter *string // content of the backup file; nil: no such file
}

// Changed reports whether Apply changes the file's content.
func (c *Change) Changed() bool { return c.after != c.content }

// Created reports whether Apply creates the file.
func (c *Change) Created() bool { return c.Missing && c.Changed() }

// Removed reports whether Apply removes the file, which Install created.
func (c *Change) Removed() bool {
	return c.Changed() && c.after == "" && c.wasAbsent() && c.backupAfter == nil
}

// wasAbsent reports whether the file did not exist before Install.
func (c *Change) wasAbsent() bool {
	return c.backup != nil && (*c.backup == absent || *c.backup == absentFolder)
}

// Backup returns the path of the backup file, or "" if the change leaves none.
func (c *Change) Backup() string {
	if c.backupAfter == nil {
		return ""
	}
	return c.backupPath()
}

func (c *Change) backupPath() string { return c.Path + backupSuffix }

// Diff returns the change as a unified diff, or "" if the content does not change.
func (c *Change) Diff() string {
	before, after := c.Path, c.Path
	if c.Created() {
		before = os.DevNull
	}
	if c.Removed() {
		after = os.DevNull
	}
	text := string(diff.Diff(before, []byte(c.content), after, []byte(c.after)))
	_, hunks, _ := strings.Cut(text, "\n") // without the line "diff FILE FILE"
	return hunks
}

// Apply writes the file and its backup. Each write is atomic and keeps the owner and mode of
// the file.
func (c *Change) Apply() error {
	if err := c.removeTemporary(); err != nil {
		return err
	}
	if c.Created() {
		if err := os.MkdirAll(filepath.Dir(c.Path), 0o755); err != nil {
			return err
		}
	}
	if c.backupAfter != nil && (c.backup == nil || *c.backup != *c.backupAfter) {
		if err := c.write(c.backupPath(), *c.backupAfter); err != nil {
			return fmt.Errorf("write the backup: %w", err)
		}
	}
	switch {
	case c.Removed():
		if err := os.Remove(c.Path); err != nil {
			return err
		}
	case c.Changed():
		if err := c.write(c.Path, c.after); err != nil {
			return fmt.Errorf("write %s: %w", c.Path, err)
		}
	}
	if c.backup != nil && c.backupAfter == nil {
		return c.removeBackup(*c.backup)
	}
	return nil
}

// removeBackup removes the backup, and the folder of a file that Install created with it.
func (c *Change) removeBackup(content string) error {
	if err := os.Remove(c.backupPath()); err != nil {
		return err
	}
	if content == absentFolder {
		_ = os.Remove(filepath.Dir(c.Path)) // fails if it has other files
	}
	return nil
}

// removeTemporary removes the files of writes that were killed.
func (c *Change) removeTemporary() error {
	for _, path := range []string{c.Path, c.backupPath()} {
		err := os.Remove(path + temporarySuffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, syscall.EROFS) {
			return err
		}
	}
	return nil
}

// ApplyAll applies changes in their order. If one fails, it reverts all of them, and the error
// says whether that succeeded. The failure of uninstall's change of crictl's file only becomes
// its Problem.
func ApplyAll(changes []Change) error {
	for i := range changes {
		err := changes[i].Apply()
		if err == nil {
			continue
		}
		if changes[i].alone {
			changes[i].Problem = errors.Join(err, changes[i].Revert())
			continue
		}
		if failed := RevertAll(changes[:i+1]); failed != nil {
			return errors.Join(err, fmt.Errorf("some files could not be restored: %w", failed))
		}
		return fmt.Errorf("the files were restored: %w", err)
	}
	return nil
}

func (c *Change) write(path, content string) (err error) {
	if err := c.removeTemporary(); err != nil {
		return err
	}
	temporary, err := os.OpenFile(path+temporarySuffix, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary.Name())
		}
	}()
	_, err = temporary.WriteString(content)
	mode := fs.FileMode(0o644) // of a new file
	if c.info != nil {
		mode = c.info.Mode().Perm()
		if owner, ok := c.info.Sys().(*syscall.Stat_t); ok {
			err = errors.Join(err, temporary.Chown(int(owner.Uid), int(owner.Gid)))
		}
	}
	err = errors.Join(err, temporary.Chmod(mode), temporary.Sync(), temporary.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return err
	}
	return syncFolder(path)
}

// syncFolder makes the entry of a file in its folder survive a power failure, if the file
// system supports that.
func syncFolder(path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	if err = folder.Sync(); errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, folder.Close())
}
