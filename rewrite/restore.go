package rewrite

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
)

// restoreStatus puts the users' names into the answer to ImageStatus. raw is
// response as it came, and is returned where nothing changes.
func (c call) restoreStatus(response *runtime.ImageStatusResponse, raw []byte) ([]byte, error) {
	if !c.restoreImage(response.GetImage()) {
		return raw, nil
	}
	return c.encodeRestored(response, raw), nil
}

// restoreList puts the users' names into the answer to ListImages, after the ledger was
// reconciled with it if it was asked for without a filter.
func (c call) restoreList(raw []byte, l listing) ([]byte, error) {
	if !c.mayRestore() {
		return raw, nil
	}
	response := &runtime.ListImagesResponse{}
	if proto.Unmarshal(raw, response) != nil {
		return raw, nil
	}
	if l.complete {
		c.reconcile(response.Images, l.asked)
	}
	return c.restoreImages(response, raw), nil
}

// restoreImages puts the users' names into a list of images. raw is the list as it came,
// and is returned if nothing changes.
func (c call) restoreImages(response *runtime.ListImagesResponse, raw []byte) []byte {
	changed := false
	moved := make(map[string]*runtime.Image) // by the tags that images are about to get
	for _, image := range response.Images {
		given, replaced := c.namer.replaceNames(image, c.began)
		changed = c.ledger.restoreImage(image) || replaced || changed
		for _, tag := range given {
			moved[tag] = image
		}
	}
	if !changed {
		return raw
	}
	for _, image := range response.Images { // a tag is on one image
		image.RepoTags = slices.DeleteFunc(image.RepoTags, func(tag string) bool {
			return moved[tag] != nil && moved[tag] != image
		})
	}
	return c.encodeRestored(response, raw)
}

// mayRestore reports whether an answer of the runtime may need a change.
func (r *Rewriter) mayRestore() bool { return !r.ledger.empty() || r.namer.replaces() }

// restoreImage makes the names of an image those that it would have without the shim. It
// reports whether anything changed.
func (c call) restoreImage(image *runtime.Image) bool {
	_, replaced := c.namer.replaceNames(image, c.began)
	return c.ledger.restoreImage(image) || replaced
}

// encodeRestored encodes an answer whose names were restored. If that fails, the
// answer stays as it came.
func (c call) encodeRestored(message proto.Message, raw []byte) []byte {
	encoded, err := proto.Marshal(message)
	if err != nil {
		c.warn(fmt.Errorf("restore the names in an answer: %w", err))
		return raw
	}
	return encoded
}

// restoreImage makes the names of an image those that it would have if each image had
// been pulled under the name that was asked for. It reports whether anything changed.
func (l *Ledger) restoreImage(image *runtime.Image) (changed bool) {
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

// hiddenIn returns the condition that hides a reference of an image. A pull in progress
// also brings digests, which come after its reference. It is called with the mutex held.
func (l *Ledger) hiddenIn(image *runtime.Image) func(reference string) bool {
	if len(l.pulls) == 0 {
		return func(reference string) bool { return l.hides(imagename.Canonical(reference), image.Id) }
	}
	brought := make(map[string]bool) // repositories
	for _, reference := range imagename.References(image) {
		if l.pulls[reference] != nil && l.hides(reference, image.Id) {
			brought[imagename.Repository(reference)] = true
		}
	}
	visible := make(map[string]bool) // repositories with a tag that clients see
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

// restoreReferences returns the references that are not hidden, with names added.
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

// visible returns the names that clients see on an image.
func (l *Ledger) visible(image *runtime.Image) []string {
	shown := &runtime.Image{Id: image.GetId(), RepoTags: image.GetRepoTags(), RepoDigests: image.GetRepoDigests()}
	l.restoreImage(shown)
	return imagename.References(shown)
}
