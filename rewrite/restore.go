package rewrite

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// restoreStatus puts the users' names into the answer to ImageStatus. raw is
// response as it came, and is returned where nothing changes.
func (c call) restoreStatus(response *runtime.ImageStatusResponse, raw []byte) ([]byte, error) {
	if !c.restoreImage(response.GetImage()) {
		return raw, nil
	}
	return c.encodeRestored(response, raw), nil
}

// restoreList puts the users' names into the answer to ListImages, or into one
// message of the answer to StreamImages: the two look the same on the wire.
func (c call) restoreList(raw []byte) ([]byte, error) {
	if !c.mayRestore() {
		return raw, nil
	}
	response := &runtime.ListImagesResponse{}
	if proto.Unmarshal(raw, response) != nil {
		return raw, nil
	}
	changed := false
	for _, image := range response.Images {
		changed = c.restoreImage(image) || changed
	}
	if !changed {
		return raw, nil
	}
	return c.encodeRestored(response, raw), nil
}

// mayRestore reports whether an answer of the runtime may need a change.
func (r *Rewriter) mayRestore() bool { return !r.ledger.empty() || !r.namer.idle() }

// restoreImage makes the names of an image those that it would have without the shim. It
// reports whether anything changed.
func (c call) restoreImage(image *runtime.Image) bool {
	replaced := c.namer.replaceNames(image)
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

// restoreImage makes the names of an image those that it would have if each
// image had been pulled under the name that was asked for. It returns whether
// anything changed.
func (l *Ledger) restoreImage(image *runtime.Image) bool {
	if image == nil {
		return false
	}
	var tags, digests []string
	for _, name := range l.namesOf(image.Id) {
		if !l.stillOn(name, image) {
			continue
		}
		if strings.Contains(name.Original, "@") {
			digests = append(digests, name.Original)
		} else {
			tags = append(tags, name.Original)
		}
	}
	tags = l.restoreReferences(image.RepoTags, image.Id, tags)
	digests = l.restoreReferences(image.RepoDigests, image.Id, digests)
	changed := !slices.Equal(tags, image.RepoTags) || !slices.Equal(digests, image.RepoDigests)
	image.RepoTags, image.RepoDigests = tags, digests
	return changed
}

// restoreReferences returns the references that are not hidden, with names added.
func (l *Ledger) restoreReferences(references []string, image string, names []string) []string {
	var restored []string
	for _, reference := range references {
		if !l.isHidden(reference, image) {
			restored = append(restored, reference)
		}
	}
	for _, name := range names {
		if !slices.Contains(restored, name) {
			restored = append(restored, name)
		}
	}
	return restored
}
