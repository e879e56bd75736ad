package rewrite

import (
	"fmt"
	"slices"

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
		given, replaced := c.namer.ReplaceNames(image, c.began)
		changed = c.ledger.RestoreImage(image) || replaced || changed
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
func (r *Rewriter) mayRestore() bool { return r.ledger.MayRestore() || r.namer.Replaces() }

// restoreImage makes the names of an image those that it would have without the shim. It
// reports whether anything changed.
func (c call) restoreImage(image *runtime.Image) bool {
	_, replaced := c.namer.ReplaceNames(image, c.began)
	return c.ledger.RestoreImage(image) || replaced
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
