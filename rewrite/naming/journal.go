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

// journal is a file with the pulls whose images have not got their names yet, so that
// a shim that was killed in between can name them when it starts again. It is safe for
// concurrent use.
type journal struct {
	directory string // empty: nothing is saved

	mutex        sync.Mutex
	repositories map[string]journaledRepository
	dropped      bool // a repository that the file still has
}

// journaledPull is a pull from a registry for another name.
type journaledPull struct {
	Original  string `json:"original"`  // the name that was asked for
	Reference string `json:"reference"` // the registry's
	Registry  string `json:"registry"`  // its address, for people
	// Before is the digest that the asked name had when the pull began; empty if it was
	// not there, and for a digest.
	Before string `json:"before,omitempty"`
	// Succeeded says that the runtime has reported success. It is set in the journal only.
	Succeeded bool `json:"succeeded,omitempty"`
}

// journaledRepository is a repository of a registry that pulls were under way from.
type journaledRepository struct {
	Pulls []journaledPull `json:"pulls"`
	// Kept are the records that were there by their own names.
	Kept []keptRecord `json:"kept"`
}

// keptRecord is a record in the journal.
type keptRecord struct {
	Name      string            `json:"name"`
	MediaType string            `json:"mediaType"`
	Digest    string            `json:"digest"` // empty if it is unknown: the name stays, whatever it is
	Size      int64             `json:"size"`
	Labels    map[string]string `json:"labels,omitempty"`
}

// journalDocument is what the file holds.
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

// load reads what an earlier shim has left, if anything.
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

// decodeJournal checks all that the namer relies on.
func decodeJournal(content []byte) (map[string]journaledRepository, error) {
	var d journalDocument
	if err := json.Unmarshal(content, &d); err != nil {
		return nil, err
	}
	if d.Version != journalVersion {
		return nil, fmt.Errorf("it has version %d, and version %d is known", d.Version, journalVersion)
	}
	for name, of := range d.Repositories {
		for _, pull := range of.Pulls {
			if !imagename.IsCanonical(pull.Original) || !imagename.IsCanonical(pull.Reference) || imagename.Repository(pull.Reference) != name {
				return nil, fmt.Errorf("the pull of %.300q as %.300q is not complete", pull.Original, pull.Reference)
			}
		}
		for _, kept := range of.Kept {
			if kept.Name == "" {
				return nil, fmt.Errorf("the record %.300q is not complete", kept.Name)
			}
		}
	}
	return d.Repositories, nil
}

// set saves the pulls from a repository, which current returns.
func (j *journal) set(repository string, current func() journaledRepository) error {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.repositories[repository] = current()
	err := j.save()
	if errors.Is(err, errTooLarge) {
		delete(j.repositories, repository) // the others are saved with the next change
	}
	return err
}

// errTooLarge says that a journal is not written because it could not be read again.
var errTooLarge = fmt.Errorf("it is larger than %d bytes", journalLimit)

// drop removes a repository. The file has it until the next save.
func (j *journal) drop(repository string) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	_, known := j.repositories[repository]
	j.dropped = j.dropped || known
	delete(j.repositories, repository)
}

// flush saves what was dropped.
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

// journaled returns what the journal holds of a repository.
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

// resume returns the state of a repository as the journal has it, with a pull under way.
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

// DropJournal removes the journal that a shim has left which kept names in the runtime: one
// that keeps them in its ledger does not write it, so that it would be out of date later. It
// reports whether there were pulls in it.
func DropJournal(directory string) (dropped bool, err error) {
	j := newJournal(directory)
	repositories, err := j.load()
	if err != nil || len(repositories) == 0 {
		return false, err
	}
	j.repositories = make(map[string]journaledRepository)
	return true, j.save()
}
