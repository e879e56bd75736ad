package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"image-cri-shim/rewrite/statedir"
)

// file is the ledger on disk: one JSON document that is replaced as a whole, so that a crash
// leaves either the old or the new document.
type file struct {
	directory string // state directory; if empty, the ledger is not saved
	unread    error  // error of a failed read, after which the file is never replaced

	mutex sync.Mutex
	saved uint64 // version of the ledger on disk
	retry retry
}

const fileName = "ledger.json"

// Open reads the ledger in a state directory, which it creates if necessary. The returned
// ledger is always usable. On an error it is empty. Open renames a damaged file. If the file
// can't be read or renamed, it stays, and the ledger is not saved.
//
// The caller must call Close.
func Open(directory string) (*Ledger, error) {
	l := newLedger(&file{directory: directory})
	stored, err := l.file.load()
	if err != nil {
		return l, fmt.Errorf("ledger starts empty, names of images pulled earlier are unknown until requested again: %w", err)
	}
	l.fill(stored)
	return l, nil
}

// New returns an empty ledger that is kept in memory only.
func New() *Ledger { return newLedger(&file{}) }

// Read reads the ledger in a state directory. Neither Read nor the returned ledger changes a
// file. The ledger must belong to the owner of the directory. On an error the returned ledger
// is empty. A missing file is not an error.
func Read(directory string) (*Ledger, error) {
	l := New()
	stored, err := readDocument(directory, statedir.OwnersOf(directory))
	l.fill(stored)
	return l, err
}

// fill adds the records of a document to an empty ledger.
func (l *Ledger) fill(stored document) {
	for _, name := range stored.Names {
		l.setName(name)
	}
	for _, left := range stored.Left {
		l.addLeftover(left, time.Time{})
	}
	for _, asked := range stored.Asked {
		l.markAsked(asked, time.Time{})
	}
	for _, c := range stored.Containers {
		l.containers[c.ID] = c
	}
	l.evict()
	l.version = 0
}

// Unread returns why Open could not read the file, or "". Such a ledger is not saved.
func (l *Ledger) Unread() string {
	if l.file.unread == nil {
		return ""
	}
	return l.file.unread.Error()
}

// load reads the file, and renames a damaged one.
func (f *file) load() (document, error) {
	err := os.MkdirAll(f.directory, 0o700)
	if err == nil {
		var stored document
		if stored, err = readDocument(f.directory, statedir.Owners()); err == nil {
			return stored, nil
		}
	}
	if errors.Is(err, statedir.ErrDamaged) {
		path := filepath.Join(f.directory, fileName)
		damaged := path + ".damaged"
		renameErr := os.Rename(path, damaged)
		if renameErr == nil {
			return document{}, fmt.Errorf("%w; file renamed to %s", err, damaged)
		}
		err = errors.Join(err, renameErr)
	}
	f.unread = fmt.Errorf("%w; correct this and restart the shim, no names are saved until then", err)
	return document{}, f.unread
}

// readDocument reads the document in a state directory. A missing file or directory is not
// an error.
func readDocument(directory string, owners []int) (document, error) {
	folder, err := statedir.Open(directory, owners)
	if errors.Is(err, fs.ErrNotExist) {
		return document{}, nil
	}
	if err != nil {
		return document{}, err
	}
	defer func() { _ = folder.Close() }()
	path := filepath.Join(directory, fileName)
	content, err := statedir.ReadFile(folder, owners, fileName, documentLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return document{}, nil
	}
	if err != nil {
		return document{}, fmt.Errorf("ledger %s: %w", path, err)
	}
	stored, err := decodeDocument(content)
	if err != nil {
		return document{}, fmt.Errorf("ledger %s: %w: %w", path, statedir.ErrDamaged, err)
	}
	return stored, nil
}

// save writes the ledger unless version or a later one is already on disk, so one write
// saves all concurrent changes. A failed save is retried until it succeeds.
func (f *file) save(version uint64, snapshot func() (document, uint64)) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.directory == "" || f.saved >= version {
		return nil
	}
	err := f.write(snapshot)
	if err == nil {
		f.retry.succeeded()
		return nil
	}
	if f.unread == nil {
		f.retry.failed(func() { _ = f.save(version, snapshot) })
	}
	return fmt.Errorf("ledger not saved, names of pulled images won't survive a restart: %w", err)
}

// write writes the ledger once. The caller holds the mutex.
func (f *file) write(snapshot func() (document, uint64)) error {
	current, version := snapshot()
	content, err := json.Marshal(current)
	if err != nil {
		return err
	}
	if err := f.replace(content); err != nil {
		return explainFull(err)
	}
	f.saved = version
	return nil
}

// replace replaces the file. It creates a missing state directory.
func (f *file) replace(content []byte) error {
	if f.unread != nil {
		return f.unread
	}
	folder, err := statedir.Open(f.directory, statedir.Owners())
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(f.directory, 0o700); err != nil {
			return err
		}
		folder, err = statedir.Open(f.directory, statedir.Owners())
	}
	if err != nil {
		return err
	}
	return errors.Join(statedir.WriteFile(folder, fileName, content), folder.Close())
}

// explainFull adds a plain explanation to the error of a full disk or an exceeded quota.
func explainFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("the disk is full: %w", err)
	}
	return err
}

// Close stops the retries of a failed save and saves the ledger a last time. The ledger
// remains usable.
func (l *Ledger) Close() error {
	l.file.retry.stop()
	return l.saveAll()
}
