package service

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"

	"image-cri-shim/agent/host"
)

// record is a file as it was before this package changed it.
type record struct {
	Path    string
	Missing bool        `json:",omitempty"`
	Link    string      `json:",omitempty"` // target of a symbolic link
	Mode    fs.FileMode `json:",omitempty"`
	Owner   host.Owner
	Content []byte   `json:",omitempty"`
	Written []string `json:",omitempty"` // hashes of the last two contents that replaced it
	Lost    bool     `json:",omitempty"` // the record could not be parsed
}

// records keeps a record in a file for each path. The folder is only accessible to root,
// because the files may contain credentials.
type records struct {
	folder string
	log    logrus.FieldLogger
}

func (r records) file(path string) string {
	return filepath.Join(r.folder, url.PathEscape(path)+".json")
}

// read describes the file at path.
func read(path string) (record, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return record{Path: path, Missing: true}, nil
	}
	if err != nil {
		return record{}, err
	}
	found := record{Path: path, Mode: info.Mode(), Owner: host.OwnerOf(info)}
	switch {
	case info.Mode().Type() == fs.ModeSymlink:
		found.Link, err = os.Readlink(path)
	case info.Mode().IsRegular():
		found.Content, err = os.ReadFile(path)
	default:
		err = fmt.Errorf("%s is not a file: move it away", path)
	}
	return found, err
}

// find returns the record of a path. It replaces a record that can't be parsed by one of a lost
// file.
func (r records) find(path string) (found record, ok bool, err error) {
	content, err := os.ReadFile(r.file(path))
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, false, nil
	}
	if err != nil {
		return record{}, false, fmt.Errorf("read the record of %s: %w", path, err)
	}
	if err := json.Unmarshal(content, &found); err != nil {
		warnOfLoss(r.log, r.file(path), err)
		found = record{Path: path, Missing: true, Lost: true}
		return found, true, r.write(found)
	}
	return found, true, nil
}

func warnOfLoss(log logrus.FieldLogger, file string, err error) {
	log.WithField("file", file).WithError(err).Warn("a record of the node before the installation can't be parsed and is lost")
}

func (r records) write(kept record) error {
	content, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	if err := makeFolder(r.folder); err != nil {
		return err
	}
	_, err = host.WriteFile(r.file(kept.Path), content, 0o600)
	return err
}

// makeFolder creates a folder for records. The folder survives a power failure, as do the files
// that are then written to it.
func makeFolder(folder string) error {
	if exists(folder) {
		return nil
	}
	parent := filepath.Dir(folder)
	if err := makeFolder(parent); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	return host.SyncFolder(parent)
}

// keep records the file at path, unless it has a record already.
func (r records) keep(path string) error {
	if _, ok, err := r.find(path); ok || err != nil {
		return err
	}
	found, err := read(path)
	if err != nil {
		return fmt.Errorf("keep a copy: %w", err)
	}
	return r.write(found)
}

// expect notes that content is about to replace the file at path, which has a record.
func (r records) expect(path string, content []byte) error {
	kept, ok, err := r.find(path)
	if !ok || err != nil {
		return err
	}
	sum := hashOf(content)
	kept.Written = append(slices.DeleteFunc(kept.Written, func(known string) bool { return known == sum }), sum)
	kept.Written = kept.Written[max(0, len(kept.Written)-2):]
	return r.write(kept)
}

// isEdited reports whether the file is neither as recorded nor as it was written since.
func (k record) isEdited() bool {
	now, err := read(k.Path)
	return err == nil && !now.Missing && !slices.Contains(k.Written, hashOf(now.Content)) && (now.Link != k.Link || hashOf(now.Content) != hashOf(k.Content))
}

// restore makes the file as it was.
func (k record) restore() error {
	switch {
	case k.Missing:
		return host.Remove(k.Path)
	case k.Link != "":
		_, err := host.ReplaceSymlink(k.Path, k.Link)
		return err
	}
	if err := os.MkdirAll(filepath.Dir(k.Path), 0o755); err != nil {
		return err
	}
	_, err := host.WriteFileFor(k.Owner, k.Path, k.Content, k.Mode)
	return err
}

// all returns the records, in the order of their paths.
func (r records) all() (all []record, err error) {
	entries, err := os.ReadDir(r.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, entry := range entries {
		name, isRecord := strings.CutSuffix(entry.Name(), ".json")
		path, invalid := url.PathUnescape(name)
		if !isRecord || invalid != nil || !filepath.IsAbs(path) {
			continue
		}
		found, ok, err := r.find(path)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, found)
		}
	}
	return all, err
}

// drop removes the record of a path.
func (r records) drop(path string) error { return host.Remove(r.file(path)) }

// restoreAll restores all files, and removes the records.
func (r records) restoreAll() error {
	all, err := r.all()
	for _, kept := range all {
		if kept.Lost {
			continue
		}
		err = errors.Join(err, kept.restore())
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(r.folder)
}

func hashOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
