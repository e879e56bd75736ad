package naming

import (
	"context"
	"maps"
	"slices"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/containerd"
	"image-cri-shim/rewrite/imagename"
)

// repositoryPulls is the state of a registry's repository while pulls from it are in progress,
// and until the names that they have created are deleted. The gate's mutex guards it.
//
// In the repository hub:5000/library/nginx, the pull of nginx:1.25 is a pull for another name:
// it creates hub:5000/library/nginx:1.25, which is deleted afterwards. A client's pull of
// hub:5000/library/nginx:1.25 is a pull by the own name: the name must stay.
type repositoryPulls struct {
	active    int  // number of pulls in progress
	deleting  bool // names are being deleted; new pulls wait
	keptKnown bool // kept contains the records that existed before the pulls
	// kept are the records that must stay, by name, because they existed before the pulls or
	// were asked for by their own names.
	kept    map[string]*containerd.Record
	created map[string]struct{} // names that pulls for other names have created
	images  map[string]struct{} // IDs of the images with these names
	pulls   []journaledPull     // pulls for other names, without duplicates
	// unfinished contains the pulls for other names that have ended but may not have named
	// their images. The value is true if the runtime has reported success.
	unfinished map[journaledPull]bool
}

func newRepositoryPulls() *repositoryPulls {
	return &repositoryPulls{
		kept:       make(map[string]*containerd.Record),
		created:    make(map[string]struct{}),
		images:     make(map[string]struct{}),
		unfinished: make(map[journaledPull]bool),
	}
}

// beginPull begins a pull from a repository. It waits while names of the repository are being
// deleted. If it returns no error, the caller must call endPull.
func (g *gate) beginPull(ctx context.Context, repository string) (*repositoryPulls, error) {
	err := g.await(ctx, func() bool {
		state := g.repositories[repository]
		return state == nil || !state.deleting
	})
	if err != nil {
		return nil, err
	}
	defer g.mutex.Unlock()
	state := g.repositories[repository]
	if state == nil {
		state = newRepositoryPulls()
		g.repositories[repository] = state
	}
	state.active++
	return state, nil
}

// endPull ends a pull from a repository. It reports whether this was the last one. If so, the
// caller must delete the names that the pulls have created, and call endDeletion or reopen.
func (g *gate) endPull(repository string) (state *repositoryPulls, last bool) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	state = g.repositories[repository]
	state.active--
	state.deleting = state.active == 0
	return state, state.deleting
}

// endLastPull is like endPull if no other pull from the repository is in progress. Otherwise it
// does nothing and returns false.
func (g *gate) endLastPull(repository string) (state *repositoryPulls, last bool) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	state = g.repositories[repository]
	if state.active > 1 {
		return state, false
	}
	state.active, state.deleting = 0, true
	return state, true
}

// reopen undoes the end of the last pull from a repository, because its names could not be
// deleted. The caller must call endPull again.
func (g *gate) reopen(repository string) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	state := g.repositories[repository]
	state.active, state.deleting = 1, false
	g.broadcast()
}

// addPull records a pull for another name.
func (g *gate) addPull(state *repositoryPulls, pull journaledPull) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if !slices.Contains(state.pulls, pull) {
		state.pulls = append(state.pulls, pull)
	}
}

// postpone records that a pull has ended and its image may lack its names. succeeded reports
// whether the runtime has reported success.
func (g *gate) postpone(state *repositoryPulls, pull journaledPull, succeeded bool) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	state.unfinished[pull] = state.unfinished[pull] || succeeded
}

// finish records that the image of a pull has its names. This finishes older pulls of the same
// requested name too.
func (g *gate) finish(state *repositoryPulls, pull journaledPull) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	maps.DeleteFunc(state.unfinished, func(other journaledPull, _ bool) bool { return other.Original == pull.Original })
}

// unfinished returns the pulls that have ended but may not have named their images, in the
// order in which they began.
func (g *gate) unfinished(state *repositoryPulls) []journaledPull {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return slices.DeleteFunc(slices.Clone(state.pulls), func(pull journaledPull) bool {
		_, unfinished := state.unfinished[pull]
		return !unfinished
	})
}

// succeeded reports whether the runtime has reported the success of an unfinished pull.
func (g *gate) succeeded(state *repositoryPulls, pull journaledPull) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return state.unfinished[pull]
}

// isAlone reports whether only one pull from the repository is in progress, and none has read
// the records that must stay.
func (g *gate) isAlone(state *repositoryPulls) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return state.active == 1 && !state.keptKnown
}

// isKeptKnown reports whether the records that must stay are known.
func (g *gate) isKeptKnown(state *repositoryPulls) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return state.keptKnown
}

// isKept reports whether a record must stay and still has its former target.
func (g *gate) isKept(state *repositoryPulls, record *containerd.Record) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	kept := state.kept[record.GetName()]
	return kept != nil && sameTarget(kept, record)
}

// keptRecord returns the former record of a name that must stay, or nil for other names.
func (g *gate) keptRecord(state *repositoryPulls, name string) *containerd.Record {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return state.kept[name]
}

// isKeptName reports whether a name must stay.
func (g *gate) isKeptName(state *repositoryPulls, name string) bool {
	return g.keptRecord(state, name) != nil
}

// wasOn reports whether a name must stay and its former target is on an image.
func (g *gate) wasOn(state *repositoryPulls, name string, image *runtime.Image) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	kept := state.kept[name]
	return kept != nil && imagename.Has(image, imagename.Repository(name)+"@"+kept.GetTarget().GetDigest())
}

// markMoved records that a pull may have moved a name that must stay. The last pull moves it
// back.
func (g *gate) markMoved(state *repositoryPulls, name string) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if state.kept[name] != nil {
		state.created[name] = struct{}{}
	}
}

// beginDeletion begins the deletion of names in repositories. It reports false if a pull from
// one of them is in progress. Otherwise the caller must call endDeletion.
func (g *gate) beginDeletion(repositories ...string) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for _, repository := range repositories {
		if g.repositories[repository] != nil {
			return false
		}
	}
	for _, repository := range repositories {
		state := newRepositoryPulls()
		state.deleting = true
		g.repositories[repository] = state
	}
	return true
}

// endDeletion ends the deletion of names in repositories.
func (g *gate) endDeletion(repositories ...string) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for _, repository := range repositories {
		delete(g.repositories, repository)
		g.markDeleted(repository)
	}
	g.broadcast()
}

// keep adds records to those that must stay, with their current targets, even if pulls for
// other names have created them.
func (g *gate) keep(state *repositoryPulls, records ...*containerd.Record) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for _, record := range records {
		state.kept[record.GetName()] = record
		delete(state.created, record.GetName())
	}
}

// keepIfActive calls keep if pulls from the repository are in progress.
func (g *gate) keepIfActive(repository string, record *containerd.Record) {
	g.mutex.Lock()
	state := g.repositories[repository]
	g.mutex.Unlock()
	if state != nil {
		g.keep(state, record)
	}
}

// setKept sets the records that must stay, unless they are already known.
func (g *gate) setKept(state *repositoryPulls, kept map[string]*containerd.Record) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if state.keptKnown {
		return
	}
	state.keptKnown = true
	for name, record := range kept {
		if state.kept[name] == nil {
			state.kept[name] = record
		}
	}
}

// createdNames returns the names that pulls for other names have created, sorted.
func (g *gate) createdNames(state *repositoryPulls) []string {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return slices.Sorted(maps.Keys(state.created))
}

// keptNames returns the names that must stay.
func (g *gate) keptNames(state *repositoryPulls) []string {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return slices.Collect(maps.Keys(state.kept))
}

// imageIDs returns the IDs of the images with names that pulls for other names have created,
// sorted.
func (g *gate) imageIDs(state *repositoryPulls) []string {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return slices.Sorted(maps.Keys(state.images))
}

// addCreated records the names that a pull for another name has created, and the ID of their
// image, which may be empty.
func (g *gate) addCreated(state *repositoryPulls, image string, names ...string) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for _, name := range names {
		state.created[name] = struct{}{}
	}
	if image != "" {
		state.images[image] = struct{}{}
	}
}
