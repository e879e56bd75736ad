package rewrite

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// ledgerFile is the ledger on disk: one JSON document that is replaced as a
// whole, so that a crash leaves the old one or the new one.
type ledgerFile struct {
	directory string // empty: nothing is saved
	unread    error  // why what is on disk is unknown: nothing is saved over it

	mutex sync.Mutex
	saved uint64 // version of the ledger that is on disk
}

// document is what the file holds.
type document struct {
	Version int      `json:"version"`
	Names   []entry  `json:"names"`
	Hidden  []hiding `json:"hidden"`
}

const (
	ledgerName      = "ledger.json"
	documentVersion = 1
	documentLimit   = 64 << 20 // bytes; far above what ledgerLimit entries take
)

// OpenLedger reads the ledger in a state directory, which it creates where it
// is missing. The ledger always works: what can't be read is an error beside a
// ledger that starts empty, and learns the names again. A damaged file is kept
// under another name; one that can't be read stays, and no change is saved over it.
func OpenLedger(directory string) (*Ledger, error) {
	l := newLedger(&ledgerFile{directory: directory})
	stored, err := l.file.load()
	if err != nil {
		return l, fmt.Errorf("the names of images pulled before are unknown until they are asked for again: %w", err)
	}
	l.fill(stored)
	return l, nil
}

// ReadLedger reads the ledger in a state directory for somebody who only looks:
// nothing on disk is changed by it or by its use. The directory's owner is taken for
// the shim's user, and the ledger must be of the same. What can't be read is an error
// beside a ledger that is empty; that there is none yet is no error.
func ReadLedger(directory string) (*Ledger, error) {
	l := newLedger(&ledgerFile{})
	stored, err := readLedger(directory, theirs(directory))
	l.fill(stored)
	return l, err
}

// fill puts into an empty ledger what was on disk.
func (l *Ledger) fill(stored document) {
	for _, name := range stored.Names {
		l.name(name)
	}
	for _, hidden := range stored.Hidden {
		l.hide(hidden)
	}
	l.evict()
}

// load reads the file. One that is damaged is put aside.
func (f *ledgerFile) load() (document, error) {
	err := os.MkdirAll(f.directory, 0o700)
	if err == nil {
		var stored document
		if stored, err = readLedger(f.directory, ours()); err == nil {
			return stored, nil
		}
	}
	if errors.Is(err, errDamaged) {
		path := filepath.Join(f.directory, ledgerName)
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

// errDamaged says that there is no ledger in the file, or not all of one.
var errDamaged = errors.New("it is damaged")

// readLedger returns what a state directory holds; that there is no ledger yet is no
// error.
func readLedger(directory string, owners []int) (document, error) {
	folder, err := openFolder(directory, owners)
	if errors.Is(err, fs.ErrNotExist) {
		return document{}, nil
	}
	if err != nil {
		return document{}, err
	}
	defer func() { _ = folder.Close() }()
	path := filepath.Join(directory, ledgerName)
	content, err := readBounded(folder, owners, ledgerName, documentLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return document{}, nil
	}
	if err != nil {
		return document{}, fmt.Errorf("ledger %s: %w", path, err)
	}
	stored, err := decodeDocument(content)
	if err != nil {
		return document{}, fmt.Errorf("ledger %s: %w: %w", path, errDamaged, err)
	}
	return stored, nil
}

// decodeDocument checks all that the ledger relies on.
func decodeDocument(content []byte) (document, error) {
	var d document
	if err := json.Unmarshal(content, &d); err != nil {
		return document{}, err
	}
	if d.Version != documentVersion {
		return document{}, fmt.Errorf("it has version %d, and version %d is known", d.Version, documentVersion)
	}
	for _, name := range d.Names {
		if !isCanonical(name.Original) || !isCanonical(name.Stored) || name.Image == "" {
			return document{}, fmt.Errorf("the name %.300q of image %.100q, stored as %.300q, is not complete", name.Original, name.Image, name.Stored)
		}
	}
	for _, hidden := range d.Hidden {
		if !isCanonical(hidden.Reference) || hidden.Image == "" {
			return document{}, fmt.Errorf("the hidden reference %.300q of image %.100q is not complete", hidden.Reference, hidden.Image)
		}
	}
	return d, nil
}

func isCanonical(image string) bool {
	name, err := Parse(image)
	return err == nil && name.String() == image
}

// save puts the ledger on disk unless version or a later one is there already:
// of many changes at once, one save carries all.
func (f *ledgerFile) save(version uint64, snapshot func() (document, uint64)) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.directory == "" || f.saved >= version {
		return nil
	}
	current, version := snapshot()
	content, err := json.Marshal(current)
	if err != nil {
		return err
	}
	if err := f.replace(content); err != nil {
		return fmt.Errorf("the names of pulled images won't survive a restart: %w", err)
	}
	f.saved = version
	return nil
}

func (f *ledgerFile) replace(content []byte) error {
	if f.unread != nil {
		return f.unread
	}
	folder, err := openFolder(f.directory, ours())
	if err != nil {
		return err
	}
	return errors.Join(replaceFile(folder, ledgerName, content), folder.Close())
}

// snapshot is what the file is to hold, and the version of the ledger it shows.
func (l *Ledger) snapshot() (document, uint64) {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	d := document{Version: documentVersion, Names: []entry{}, Hidden: []hiding{}}
	// Image by image, so that each image's names keep their order.
	for _, image := range slices.Sorted(maps.Keys(l.images)) {
		for _, original := range l.images[image] {
			d.Names = append(d.Names, l.names[original])
		}
	}
	for _, reference := range slices.Sorted(maps.Keys(l.hidden)) {
		d.Hidden = append(d.Hidden, hiding{Reference: reference, Image: l.hidden[reference]})
	}
	return d, l.version
}
