package rewrite

import (
	"bytes"
	"slices"
	"strings"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// While a pull is under way, and for the milliseconds until its image has got its names,
// the runtime shows names of the registry that are about to go. Clients are shown the
// names that come in their place.

// replaced returns the names that a name is about to be replaced by. It reports false for
// a name that stays. tags are the other names of the image: a digest belongs to the pulls
// of these. Without tags it may belong to any pull from its repository.
func (g *gate) replaced(name string, tags []string) (by []string, ok bool) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	state := g.repositories[repository(name)]
	if state == nil || !state.listed || len(state.named) == 0 {
		return nil, false
	}
	if _, kept := state.kept[name]; kept {
		return nil, false
	}
	_, digest, digested := strings.Cut(name, "@")
	for _, pull := range state.named {
		original := ""
		switch {
		case digested && (tags == nil || pull.Reference == name || slices.Contains(tags, pull.Reference)):
			original = repository(pull.Original) + "@" + digest
		case pull.Reference == name:
			original = pull.Original
		}
		if original != "" && !slices.Contains(by, original) {
			by = append(by, original)
		}
	}
	return by, digested || len(by) > 0
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
	return false
}

// mentions is [gate.mentions].
func (n *Namer) mentions(message []byte) bool { return n != nil && n.gate.mentions(message) }

// replaceNames replaces names of an image that are about to go. It reports whether there
// were any.
func (n *Namer) replaceNames(image *runtime.Image) (changed bool) {
	if n.idle() || image == nil {
		return false
	}
	before := append([]string{}, image.RepoTags...)
	tags, changedTags := n.replaceEach(image.RepoTags, before)
	digests, changedDigests := n.replaceEach(image.RepoDigests, before)
	image.RepoTags, image.RepoDigests = tags, digests
	return changedTags || changedDigests
}

func (n *Namer) replaceEach(names, tags []string) (replaced []string, changed bool) {
	for _, name := range names {
		by, ok := n.gate.replaced(name, tags)
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

// replaceName returns the name to show in place of one that is about to go: that of the
// same repository as the specified one, if there is a choice.
func (n *Namer) replaceName(name, specified string) string {
	if n.idle() {
		return name
	}
	by, ok := n.gate.replaced(name, nil)
	if !ok || len(by) == 0 {
		return name
	}
	for _, other := range by {
		if repository(other) == repository(specified) {
			return other
		}
	}
	return by[0]
}
