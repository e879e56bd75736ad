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

// While a pull is under way, and for the milliseconds until its image has got its names,
// the runtime shows names of the registry that are about to go. Clients are shown the
// names that come in their place.

// replacements returns the names that a name is about to be replaced by. It reports false for
// a name that stays. tags are the other names of the image: a digest belongs to the pulls
// of these. Without tags it may belong to any pull from its repository. The answer is for a
// call that began at a time.
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

// hides reports whether a pull for another name has put a tag there, or may just be about
// to: clients do not find an image by it.
func (g *gate) hides(name string) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	state := g.repositories[imagename.Repository(name)]
	return state != nil && len(state.pulls) > 0 && state.kept[name] == nil &&
		slices.ContainsFunc(state.pulls, func(pull journaledPull) bool { return pull.Reference == name })
}

// mayBring reports whether a pull for another name is under way that may bring an image with
// a name; with any ID if it is nil.
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

// mentions reports whether a message can contain a name that is about to be replaced. It
// looks at the bytes only.
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

// Hides is [gate.hides].
func (n *Namer) Hides(name string) bool { return n != nil && n.gate.hides(name) }

// MayBring is [gate.mayBring].
func (n *Namer) MayBring(name reference.Named) bool {
	return n != nil && n.InRuntime() && n.gate.mayBring(name)
}

// Mentions is [gate.mentions].
func (n *Namer) Mentions(message []byte) bool { return n != nil && n.gate.mentions(message) }

// Replaces is [gate.replaces].
func (n *Namer) Replaces() bool { return n != nil && n.gate.replaces() }

// ReplaceNames replaces names of an image that are about to go. It returns the tags that
// came in their place, and reports whether there was anything to replace.
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

// ReplaceName returns the name to show in place of one that is about to go: that of the
// same repository as the specified one, if there is a choice.
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
