package rewrite

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// restoreStatus restores the requested names in the answer to ImageStatus. raw is the encoded
// response as received, which is returned if nothing changes.
func (c call) restoreStatus(response *runtime.ImageStatusResponse, raw []byte) ([]byte, error) {
	if !c.restoreImage(response.GetImage()) {
		return raw, nil
	}
	return c.encodeRestored(response, raw), nil
}

// restoreList restores the requested names in the answer to ListImages. If the list is complete, it
// first reconciles the ledger with the list.
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

// restoreImages restores the requested names in a list of images. raw is the encoded list as
// received, which is returned if nothing changes.
func (c call) restoreImages(response *runtime.ListImagesResponse, raw []byte) []byte {
	changed := false
	moved := make(map[string]*runtime.Image) // images by the tags that ReplaceNames has added
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
	for _, image := range response.Images { // remove these tags from other images
		image.RepoTags = slices.DeleteFunc(image.RepoTags, func(tag string) bool {
			return moved[tag] != nil && moved[tag] != image
		})
	}
	return c.encodeRestored(response, raw)
}

// mayRestore reports whether an answer of the runtime may need a change.
func (r *Rewriter) mayRestore() bool { return r.ledger.MayRestore() || r.namer.Replaces() }

// restoreImage changes the names of an image to those that it would have without the shim. It
// reports whether anything changed.
func (c call) restoreImage(image *runtime.Image) bool {
	_, replaced := c.namer.ReplaceNames(image, c.began)
	return c.ledger.RestoreImage(image) || replaced
}

// encodeRestored encodes an answer with restored names. If encoding fails, it returns raw, the
// answer as received.
func (c call) encodeRestored(message proto.Message, raw []byte) []byte {
	encoded, err := proto.Marshal(message)
	if err != nil {
		c.warn(fmt.Errorf("could not encode an answer with restored names: %w", err))
		return raw
	}
	return encoded
}
