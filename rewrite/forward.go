package rewrite

import (
	"context"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/imagename"
)

// Calls while the runtime has the names of all images. They are forwarded as they come,
// and a name is looked for elsewhere only when the runtime does not know it: an image may
// have been loaded under a registry's name.

// missingStatus looks at the answer to an ImageStatus that was forwarded.
func (c call) missingStatus(ctx context.Context, encoded, raw []byte) []byte {
	if hasImage(raw) {
		restored, _ := c.restoreImageStatus(ctx, raw) // the ledger may have got a name meanwhile
		return restored
	}
	if found := c.findMissing(ctx, encoded); found != nil {
		return found
	}
	return raw
}

// isUnchangedStatus reports, from the first bytes of an answer to ImageStatus, whether it
// may pass: the runtime has an image, and has its names.
func (r *Rewriter) isUnchangedStatus(beginning []byte) bool {
	return hasImage(beginning) && !r.mayRestore()
}

// hasImage reports whether an encoded ImageStatusResponse has an image, its first field.
func hasImage(raw []byte) bool {
	const imageField = 1<<3 | 2 // number and wire type (runtime/v1/api.proto)
	return len(raw) > 0 && raw[0] == imageField
}

// findMissing returns the answer to ImageStatus if the name that it asks for is found
// under another after all; nil if not.
func (c call) findMissing(ctx context.Context, encoded []byte) []byte {
	request := &runtime.ImageStatusRequest{}
	if proto.Unmarshal(encoded, request) != nil {
		return nil
	}
	name, err := imagename.Parse(request.GetImage().GetImage())
	if err != nil {
		return nil
	}
	if len(c.lookup.Candidates(name)) == 0 {
		return nil
	}
	if again, err := c.forward(ctx, encoded); err != nil || hasImage(again) {
		return again // the runtime can't be asked now, or has got the image meanwhile
	}
	found, err := c.resolve(ctx, request, encoded, name, false)
	if err != nil || found.image() == nil {
		return nil
	}
	restored, _ := c.restoreStatus(found.response, found.raw)
	return restored
}

// createNamed forwards CreateContainer as it is. If that fails because the runtime does
// not know a name, the image may be there under a registry's name: it then gets the
// asked one, and the request is sent again.
func (c call) createNamed(ctx context.Context, request *runtime.CreateContainerRequest, encoded []byte) ([]byte, error) {
	var missing []*runtime.ImageSpec
	ids := idsOf(request)
	for _, spec := range imagesOf(request) {
		if !isNamed(spec) {
			continue
		}
		image, err := c.runtime.ImageStatus(ctx, spec.GetImage())
		switch {
		case err != nil:
		case image == nil:
			missing = append(missing, spec)
		default:
			ids = append(ids, image.GetId())
		}
	}
	done, err := c.namer.Use(ctx, ids...)
	if err != nil {
		return nil, err
	}
	response, err := c.forward(ctx, encoded)
	done()
	if err == nil || cri.EndsCall(err) {
		return response, err
	}
	found := false
	for _, spec := range missing {
		name, _ := imagename.Parse(spec.GetImage())
		other, otherErr := c.resolveName(ctx, spec.GetImage(), name, false)
		found = found || otherErr == nil && other.image() != nil
	}
	if !found {
		return nil, err
	}
	return c.forward(ctx, encoded)
}

// idsOf returns the images of a container that are given by ID.
func idsOf(request *runtime.CreateContainerRequest) []string {
	var ids []string
	for _, spec := range imagesOf(request) {
		if spec.GetImage() != "" && !isNamed(spec) {
			ids = append(ids, spec.GetImage())
		}
	}
	return ids
}
