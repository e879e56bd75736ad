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

// file is the ledger on disk: one JSON document that is replaced as a
// whole, so that a crash leaves the old one or the new one.
type file struct {
	directory string // empty: nothing is saved
	unread    error  // why the content on disk is unknown: nothing is saved over it

	mutex sync.Mutex
	saved uint64 // version of the ledger that is on disk
	retry retry
}

const fileName = "ledger.json"

// Open reads the ledger in a state directory, which it creates if it is
// missing. It always returns a usable ledger. If the file can't be read, the error says
// why, and the ledger starts empty. A damaged file is kept
// under another name. A file that can't be read stays, and no change is saved over it.
//
// The caller must call Close.
func Open(directory string) (*Ledger, error) {
	l := newLedger(&file{directory: directory})
	stored, err := l.file.load()
	if err != nil {
		return l, fmt.Errorf("the names of images pulled before are unknown until they are asked for again: %w", err)
	}
	l.fill(stored)
	return l, nil
}

// New returns an empty ledger that is not saved.
func New() *Ledger { return newLedger(&file{}) }

// Read reads the ledger in a state directory without the right to change it: neither
// it nor the use of the returned ledger changes a file. The ledger must belong to the owner
// of the directory. If the file can't be read, the error says why, and the returned ledger
// is empty. A missing file is no error.
func Read(directory string) (*Ledger, error) {
	l := New()
	stored, err := readDocument(directory, statedir.OwnersOf(directory))
	l.fill(stored)
	return l, err
}

// fill puts into an empty ledger what was on disk.
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

// load reads the file. One that is damaged is put aside.
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
			return document{}, fmt.Errorf("%w; it is kept as %s", err, damaged)
		}
		err = errors.Join(err, renameErr)
	}
	f.unread = fmt.Errorf("%w; once that is mended restart the shim, it keeps no names until then", err)
	return document{}, f.unread
}

// readDocument returns what a state directory holds; that there is no ledger yet is no
// error.
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

// save puts the ledger on disk unless version or a later one is there already: one
// save carries all concurrent changes. A failed save is retried until one succeeds.
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
	return fmt.Errorf("the names of pulled images won't survive a restart: %w", err)
}

// write is save with the mutex held, and without a retry.
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

// replace writes the file. A state directory that was removed is made again.
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

// explainFull says plainly that the disk, or the quota on it, is full.
func explainFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("the disk is full: %w", err)
	}
	return err
}

// Close ends the retries of a failed save, after a last one. The ledger remains usable.
func (l *Ledger) Close() error {
	l.file.retry.stop()
	return l.saveAll()
}
