package ledger

import (
	"slices"
	"strings"

	"image-cri-shim/rewrite/imagename"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// RestoreImage changes the names of an image in an answer to those that clients asked for:
// it adds the names in the ledger and removes the hidden references. It reports whether
// anything changed.
func (l *Ledger) RestoreImage(image *runtime.Image) (changed bool) {
	if image == nil {
		return false
	}
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	var tags, digests []string
	for _, original := range l.images[image.Id] {
		switch {
		case !l.stillOn(l.names[original], image):
		case strings.Contains(original, "@"):
			digests = append(digests, original)
		default:
			tags = append(tags, original)
		}
	}
	hides := l.hiddenIn(image)
	tags = restoreReferences(image.RepoTags, hides, tags)
	digests = restoreReferences(image.RepoDigests, hides, digests)
	changed = !slices.Equal(tags, image.RepoTags) || !slices.Equal(digests, image.RepoDigests)
	image.RepoTags, image.RepoDigests = tags, digests
	return changed
}

// hiddenIn returns a function that reports whether a reference of an image is hidden. While a
// pull is in progress, the digests of its repository are hidden too, because the runtime may
// add them after the pulled reference. The caller holds the mutex.
func (l *Ledger) hiddenIn(image *runtime.Image) func(reference string) bool {
	if len(l.pulls) == 0 {
		return func(reference string) bool { return l.hides(imagename.Canonical(reference), image.Id) }
	}
	brought := make(map[string]bool) // repositories of hidden references that running pulls have added
	for _, reference := range imagename.References(image) {
		if l.pulls[reference] != nil && l.hides(reference, image.Id) {
			brought[imagename.Repository(reference)] = true
		}
	}
	visible := make(map[string]bool) // repositories with a visible tag
	for _, tag := range image.RepoTags {
		if !l.hides(imagename.Canonical(tag), image.Id) {
			visible[imagename.Repository(tag)] = true
		}
	}
	return func(reference string) bool {
		if l.hides(imagename.Canonical(reference), image.Id) {
			return true
		}
		in := imagename.Repository(reference)
		return strings.Contains(reference, "@") && brought[in] && !visible[in] && !l.placements[reference][image.Id].asked
	}
}

// restoreReferences returns the references that are not hidden, followed by the names that
// are not among them.
func restoreReferences(references []string, hides func(string) bool, names []string) []string {
	var restored []string
	for _, reference := range references {
		if !hides(reference) {
			restored = append(restored, reference)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(restored, func(shown string) bool { return imagename.Canonical(shown) == name }) {
			restored = append(restored, name)
		}
	}
	return restored
}

// VisibleNames returns the names that clients see on an image.
func (l *Ledger) VisibleNames(image *runtime.Image) []string {
	shown := &runtime.Image{Id: image.GetId(), RepoTags: image.GetRepoTags(), RepoDigests: image.GetRepoDigests()}
	l.RestoreImage(shown)
	return imagename.References(shown)
}
