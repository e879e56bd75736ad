package naming

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
)

// During a pull, and for the milliseconds until its image has its names, the runtime shows the
// registry's names. The following functions replace them in answers by the requested names.

// replacements returns the names that replace a registry's name in the answer to a call that
// began at the time began. ok is false for a name that stays. tags are the tags of the image:
// a digest reference belongs to the pulls of these tags. If tags is nil, it may belong to any
// pull from its repository.
func (g *gate) replacements(name string, tags []string, began time.Time) (by []string, ok bool) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	state := g.repositories[imagename.Repository(name)]
	if state == nil || !state.keptKnown || len(state.pulls) == 0 {
		gone, ok := g.deleted[name]
		return gone.replacements, ok && gone.mayShow(began)
	}
	if _, kept := state.kept[name]; kept {
		return nil, false
	}
	_, digest, digested := strings.Cut(name, "@")
	for _, pull := range state.pulls {
		original := ""
		switch {
		case digested && (tags == nil || pull.Reference == name || slices.Contains(tags, pull.Reference)):
			original = imagename.Repository(pull.Original) + "@" + digest
		case pull.Reference == name:
			original = pull.Original
		}
		if original != "" && !slices.Contains(by, original) {
			by = append(by, original)
		}
	}
	return by, digested || len(by) > 0
}

// hides reports whether a pull for another name may have stored a tag. Clients do not find an
// image by such a tag.
func (g *gate) hides(name string) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	state := g.repositories[imagename.Repository(name)]
	return state != nil && len(state.pulls) > 0 && state.kept[name] == nil &&
		slices.ContainsFunc(state.pulls, func(pull journaledPull) bool { return pull.Reference == name })
}

// mayBring reports whether a pull for another name is in progress that may store an image
// under name. If name is nil, any such pull counts.
func (g *gate) mayBring(name reference.Named) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for _, state := range g.repositories {
		if name == nil && len(state.pulls) > 0 {
			return true
		}
		for _, pull := range state.pulls {
			if name == nil || state.kept[name.String()] != nil {
				continue
			}
			_, digested := name.(reference.Digested)
			for _, brought := range []string{pull.Original, pull.Reference} {
				if brought == name.String() || digested && imagename.Repository(brought) == name.Name() {
					return true
				}
			}
		}
	}
	return false
}

// mentions reports whether an encoded message may contain a name that must be replaced. It
// does not decode the message.
func (g *gate) mentions(message []byte) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for name := range g.repositories {
		if bytes.Contains(message, []byte(name)) {
			return true
		}
	}
	for name := range g.deleted {
		if bytes.Contains(message, []byte(name)) {
			return true
		}
	}
	return false
}

// Hides reports whether clients do not find an image by a tag, because a pull for another name
// may have stored it.
func (n *Namer) Hides(name string) bool { return n != nil && n.gate.hides(name) }

// MayBring reports whether a pull for another name is in progress that may store an image
// under name in the runtime. If name is nil, any such pull counts.
func (n *Namer) MayBring(name reference.Named) bool {
	return n != nil && n.InRuntime() && n.gate.mayBring(name)
}

// Mentions reports whether an encoded message may contain a name that must be replaced. It
// does not decode the message.
func (n *Namer) Mentions(message []byte) bool { return n != nil && n.gate.mentions(message) }

// Replaces reports whether answers may contain names that must be replaced.
func (n *Namer) Replaces() bool { return n != nil && n.gate.replaces() }

// ReplaceNames replaces the registry's names of an image that are about to be deleted. began is
// the time when the call began. It returns the tags that it has added, and reports whether
// anything changed.
func (n *Namer) ReplaceNames(image *runtime.Image, began time.Time) (given []string, changed bool) {
	if image == nil || !n.Replaces() {
		return nil, false
	}
	before := append([]string{}, image.RepoTags...)
	tags, changedTags := n.replaceEach(image.RepoTags, before, began)
	digests, changedDigests := n.replaceEach(image.RepoDigests, before, began)
	for _, tag := range tags {
		if !slices.Contains(before, tag) {
			given = append(given, tag)
		}
	}
	image.RepoTags, image.RepoDigests = tags, digests
	return given, changedTags || changedDigests
}

func (n *Namer) replaceEach(names, tags []string, began time.Time) (replaced []string, changed bool) {
	for _, name := range names {
		by, ok := n.gate.replacements(name, tags, began)
		if !ok {
			by = []string{name}
		}
		changed = changed || ok
		for _, name := range by {
			if !slices.Contains(replaced, name) {
				replaced = append(replaced, name)
			}
		}
	}
	return replaced, changed
}

// ReplaceName returns the name to show in place of a registry's name that is about to be
// deleted, or name itself. If several names are possible, it prefers the repository of the
// specified name.
func (n *Namer) ReplaceName(name, specified string, began time.Time) string {
	if !n.Replaces() {
		return name
	}
	by, ok := n.gate.replacements(name, nil, began)
	if !ok || len(by) == 0 {
		return name
	}
	for _, other := range by {
		if imagename.Repository(other) == imagename.Repository(specified) {
			return other
		}
	}
	return by[0]
}
