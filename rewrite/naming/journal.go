package naming

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"image-cri-shim/rewrite/containerd"
	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/statedir"
)

// journal is a file with the pulls that have not named their images yet. If the shim is
// killed, the next one reads the file and names these images. A journal is safe for
// concurrent use.
type journal struct {
	directory string // state directory; if empty, the journal is not saved

	mutex        sync.Mutex
	repositories map[string]journaledRepository
	dropped      bool // the file still has a repository that was dropped
}

// journaledPull is a pull from a registry for another name, such as the pull of nginx:1.25 as
// hub:5000/library/nginx:1.25.
type journaledPull struct {
	Original  string `json:"original"`  // requested name
	Reference string `json:"reference"` // the registry's reference
	Registry  string `json:"registry"`  // address of the registry, for display
	// Before is the digest that the requested name had when the pull began. It is empty if the
	// name did not exist, or if it is a digest reference.
	Before string `json:"before,omitempty"`
	// Succeeded is set if the runtime has reported success. It is used in the file only.
	Succeeded bool `json:"succeeded,omitempty"`
}

// journaledRepository is a registry's repository with unfinished pulls.
type journaledRepository struct {
	Pulls []journaledPull `json:"pulls"`
	// Kept are the records that must stay, because they existed before the pulls or were
	// asked for by their own names.
	Kept []keptRecord `json:"kept"`
}

// keptRecord is a record in the journal.
type keptRecord struct {
	Name      string            `json:"name"`
	MediaType string            `json:"mediaType"`
	Digest    string            `json:"digest"` // empty if unknown: the name stays with any target
	Size      int64             `json:"size"`
	Labels    map[string]string `json:"labels,omitempty"`
}

// journalDocument is the content of the file.
type journalDocument struct {
	Version      int                            `json:"version"`
	Repositories map[string]journaledRepository `json:"repositories"`
}

const (
	journalName    = "pulls.json"
	journalVersion = 1
	journalLimit   = 16 << 20 // bytes
)

func newJournal(directory string) *journal {
	return &journal{directory: directory, repositories: make(map[string]journaledRepository)}
}

// load reads the pulls that an earlier shim has not finished. A missing file is not an error.
func (j *journal) load() (map[string]journaledRepository, error) {
	if j.directory == "" {
		return nil, nil
	}
	folder, err := statedir.Open(j.directory, statedir.Owners())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = folder.Close() }()
	content, err := statedir.ReadFile(folder, statedir.Owners(), journalName, journalLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	path := filepath.Join(j.directory, journalName)
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	repositories, err := decodeJournal(content)
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w: %w", path, statedir.ErrDamaged, err)
	}
	j.mutex.Lock()
	defer j.mutex.Unlock()
	for name, of := range repositories {
		j.repositories[name] = of
	}
	return repositories, nil
}

// decodeJournal decodes and checks the content of the file.
func decodeJournal(content []byte) (map[string]journaledRepository, error) {
	var d journalDocument
	if err := json.Unmarshal(content, &d); err != nil {
		return nil, err
	}
	if d.Version != journalVersion {
		return nil, fmt.Errorf("unsupported version %d, want %d", d.Version, journalVersion)
	}
	for name, of := range d.Repositories {
		for _, pull := range of.Pulls {
			if !imagename.IsCanonical(pull.Original) || !imagename.IsCanonical(pull.Reference) || imagename.Repository(pull.Reference) != name {
				return nil, fmt.Errorf("incomplete pull of %.300q as %.300q", pull.Original, pull.Reference)
			}
		}
		for _, kept := range of.Kept {
			if kept.Name == "" {
				return nil, fmt.Errorf("incomplete record %.300q", kept.Name)
			}
		}
	}
	return d.Repositories, nil
}

// set saves the pulls from a repository. It calls current to get them, with the mutex held.
func (j *journal) set(repository string, current func() journaledRepository) error {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.repositories[repository] = current()
	err := j.save()
	if errors.Is(err, errTooLarge) {
		delete(j.repositories, repository) // the next change saves the other repositories
	}
	return err
}

// errTooLarge reports that a journal was not written because load would reject its size.
var errTooLarge = fmt.Errorf("larger than %d bytes", journalLimit)

// drop removes a repository. The file contains it until the next save.
func (j *journal) drop(repository string) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	_, known := j.repositories[repository]
	j.dropped = j.dropped || known
	delete(j.repositories, repository)
}

// flush saves the journal if a repository was dropped since the last save.
func (j *journal) flush() error {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if !j.dropped {
		return nil
	}
	return j.save()
}

// save writes the file. The caller holds the mutex.
func (j *journal) save() error {
	if j.directory == "" {
		return nil
	}
	content, err := json.Marshal(journalDocument{Version: journalVersion, Repositories: j.repositories})
	if err != nil {
		return err
	}
	if len(content) > journalLimit {
		return fmt.Errorf("journal %s: %w", filepath.Join(j.directory, journalName), errTooLarge)
	}
	if err := os.MkdirAll(j.directory, 0o700); err != nil {
		return err
	}
	folder, err := statedir.Open(j.directory, statedir.Owners())
	if err != nil {
		return err
	}
	err = errors.Join(statedir.WriteFile(folder, journalName, content), folder.Close())
	j.dropped = j.dropped && err != nil
	return err
}

// journaled returns the content of the journal for a repository.
func (g *gate) journaled(state *repositoryPulls) journaledRepository {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	of := journaledRepository{Pulls: slices.Clone(state.pulls)}
	for i, pull := range of.Pulls {
		of.Pulls[i].Succeeded = state.unfinished[pull]
	}
	for name, record := range state.kept {
		target := record.GetTarget()
		of.Kept = append(of.Kept, keptRecord{name, target.GetMediaType(), target.GetDigest(), target.GetSize(), record.GetLabels()})
	}
	return of
}

// resume restores the state of a repository from the journal, with one pull in progress.
func (g *gate) resume(repository string, of journaledRepository) *repositoryPulls {
	state := newRepositoryPulls()
	state.active, state.keptKnown = 1, true
	for _, pull := range of.Pulls {
		succeeded := pull.Succeeded
		pull.Succeeded = false
		if !slices.Contains(state.pulls, pull) {
			state.pulls = append(state.pulls, pull)
		}
		state.unfinished[pull] = state.unfinished[pull] || succeeded
	}
	for _, kept := range of.Kept {
		record := &containerd.Record{Name: kept.Name, Labels: kept.Labels}
		if kept.Digest != "" {
			record.Target = &containerd.Descriptor{MediaType: kept.MediaType, Digest: kept.Digest, Size: kept.Size}
		}
		state.kept[kept.Name] = record
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.repositories[repository] = state
	return state
}

// DropJournal empties the journal of an earlier shim that kept names in the runtime. A shim
// with names: ledger calls it, because it does not update the journal, which would then be
// out of date. DropJournal reports whether the journal contained pulls.
func DropJournal(directory string) (dropped bool, err error) {
	j := newJournal(directory)
	repositories, err := j.load()
	if err != nil || len(repositories) == 0 {
		return false, err
	}
	j.repositories = make(map[string]journaledRepository)
	return true, j.save()
}
