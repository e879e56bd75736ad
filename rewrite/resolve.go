package rewrite

import (
	"context"
	"strings"

	"github.com/distribution/reference"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// resolution is the image that a name means on this node.
type resolution struct {
	reference string // what the runtime knows it by; the asked name where that is the original
	registry  string // whose reference it is; empty for the original
	reason    string
	response  *runtime.ImageStatusResponse // nil where the runtime's answer can't be decoded
	raw       []byte                       // the runtime's answer as it came
}

func (r resolution) image() *runtime.Image { return r.response.GetImage() }

// resolve finds a name among the images of the runtime and asks no registry. It
// tries, in this order, the image that the ledger has for it, the name as the
// client wrote it, and the reference that each registry would give it. What is
// hidden is not found: it was put there for another name. Where there is
// nothing, the resolution has no image and holds the answer to give.
//
// request names the image as the client did, and encoded is its encoding.
func (c call) resolve(ctx context.Context, request *runtime.ImageStatusRequest, encoded []byte, name reference.Named) (resolution, error) {
	original := name.String()
	if known, ok := c.ledger.Lookup(original); ok {
		found, err := c.resolveAs(ctx, request, known.Image)
		if found.image() != nil || (err != nil && ends(err)) {
			found.reference, found.registry, found.reason = known.Stored, known.Registry, "pulled from this registry"
			return found, err
		}
		if err == nil {
			c.forgetImage(known.Image) // removed behind the shim's back
		}
	}
	asWritten := resolution{reference: request.GetImage().GetImage(), reason: "stored under its own name"}
	var failure error
	asWritten.response, asWritten.raw, failure = c.runtime.rawStatus(ctx, encoded)
	if failure != nil && ends(failure) {
		return asWritten, failure
	}
	if image := asWritten.image(); image != nil {
		if !c.ledger.Hidden(original, image.Id) {
			return asWritten, nil
		}
		asWritten.response, asWritten.raw = &runtime.ImageStatusResponse{}, nil
	}
	for _, candidate := range c.lookup.Candidates(name) {
		if candidate.Reference == original {
			continue
		}
		found, err := c.resolveAs(ctx, request, candidate.Reference)
		if err != nil && ends(err) {
			return found, err
		}
		if image := found.image(); image != nil && !c.ledger.Hidden(candidate.Reference, image.Id) {
			found.registry, found.reason = candidate.Registry, "present under this registry's reference"
			c.learn(original, candidate, image)
			return found, nil
		}
	}
	asWritten.reason = "not on this node"
	return asWritten, failure
}

// resolveAs asks the runtime for a reference in place of the asked name.
func (c call) resolveAs(ctx context.Context, request *runtime.ImageStatusRequest, reference string) (resolution, error) {
	renamed := proto.CloneOf(request)
	renamed.Image.Image = reference
	response, raw, err := c.runtime.statusOf(ctx, renamed)
	return resolution{reference: reference, response: response, raw: raw}, err
}

// resolveName is resolve for a name that stands in another message than
// ImageStatus.
func (c call) resolveName(ctx context.Context, asked string, name reference.Named) (resolution, error) {
	request := &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: asked}}
	encoded, err := proto.Marshal(request)
	if err != nil {
		return resolution{}, err
	}
	return c.resolve(ctx, request, encoded, name)
}

// learn records a name for an image that turned out to be there under a
// registry's reference. It may have been asked for under that very reference,
// which therefore stays visible.
func (c call) learn(original string, candidate Candidate, image *runtime.Image) {
	stored := candidate.Reference
	names := []Name{{Original: original, Image: image.Id, Stored: stored, Registry: candidate.Registry}}
	for _, reference := range digestsOf(image, repository(stored)) {
		if _, digest, ok := strings.Cut(reference, "@"); ok && reference != stored {
			names = append(names, Name{Original: repository(original) + "@" + digest, Image: image.Id, Stored: reference, Registry: candidate.Registry})
		}
	}
	c.apply(Change{Name: names})
}

func (c call) forgetImage(id string) {
	if err := c.ledger.Forget(id); err != nil {
		c.warn(err)
	}
}
