package rewrite

import (
	"context"
	"path"
	"time"

	"github.com/distribution/reference"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/printable"
	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/ledger"
)

// resolution is the image that a name means on this node.
type resolution struct {
	own       bool   // the runtime's answer for the name itself, be it that there is nothing
	hidden    bool   // the runtime has an image under the name itself, which is hidden
	reference string // what the runtime knows it by
	registry  string // that served it; empty for the original's own
	reason    string
	response  *runtime.ImageStatusResponse // nil where the runtime's answer can't be decoded
	raw       []byte                       // the runtime's answer as it came
	failed    failedLookups                // the other references that the runtime failed to answer for
}

func (r resolution) image() *runtime.Image { return r.response.GetImage() }

func (r resolution) outcome(err error) Outcome {
	switch {
	case err != nil, r.image() == nil && r.failed.err() != nil:
		return OutcomeFailed
	case r.image() == nil:
		return OutcomeNone
	case r.registry != "":
		return OutcomeRegistry
	default:
		return OutcomeOriginal
	}
}

// resolve finds a name among the images of the runtime and asks no registry. It
// tries, in this order, the name as the client wrote it, the image that the
// ledger has for it, and the reference that each registry would give it, if the image was
// preloaded. A hidden reference is not found: it was put there for another name. If nothing
// is found, the resolution has no image and holds the answer to give.
//
// The name itself comes first although most names are in the ledger: whatever
// is visible under it came after the ledger's entry, and not through the shim. The
// runtime is asked for both at once.
//
// request names the image as the client did, and encoded is its encoding. If
// nothing is found, the runtime's error about a registry's reference is logged; a
// strict resolution returns it.
func (c call) resolve(ctx context.Context, request *runtime.ImageStatusRequest, encoded []byte, name reference.Named, strict bool) (resolution, error) {
	start := time.Now()
	found, err := c.find(ctx, request, encoded, name)
	if strict && err == nil && found.image() == nil {
		err = found.failed.err()
	}
	if err != nil {
		found.reason = "the runtime gave no answer"
	}
	decision := Decision{
		Method:   path.Base(c.method),
		Asked:    printable.Line(request.Image.Image, lineLimit),
		Registry: found.registry,
		Reason:   found.failed.explain(found.reason),
		Outcome:  found.outcome(err),
		Duration: time.Since(start),
		Err:      err,
		Failed:   found.failed.first(),
	}
	if found.image() != nil {
		decision.Served = found.reference
	}
	c.decided(ctx, decision)
	return found, err
}

// find is resolve without the log.
func (c call) find(ctx context.Context, request *runtime.ImageStatusRequest, encoded []byte, name reference.Named) (resolution, error) {
	ctx, cancel := context.WithCancel(ctx)
	known := c.askLedgerImage(ctx, request, name.String())
	defer func() {
		cancel()
		if known != nil {
			for range known { // it has ended when this call has
			}
		}
	}()
	asWritten, failure := c.resolveAsWritten(ctx, request, encoded, name)
	if asWritten.image() != nil || (failure != nil && !mayRefuse(failure)) {
		return asWritten, failure
	}
	found, err := c.resolveElsewhere(ctx, request, name, known)
	switch {
	case found.image() != nil || (err != nil && cri.EndsCall(err)):
		if failure != nil {
			found.failed = append(failedLookups{{reference: asWritten.reference, err: failure}}, found.failed...)
		}
		return found, err
	case failure == nil:
		failure = err
	}
	asWritten.failed = found.failed
	return asWritten, failure
}

// resolveElsewhere looks for the image under all references but the name itself.
func (c call) resolveElsewhere(ctx context.Context, request *runtime.ImageStatusRequest, name reference.Named, known <-chan ledgerImage) (resolution, error) {
	pulled, err := c.resolveLedgerImage(known)
	if pulled.image() != nil || err != nil {
		return pulled, err
	}
	found, err := c.resolveCandidates(ctx, request, name)
	found.failed = append(pulled.failed, found.failed...)
	return found, err
}

// resolveAsWritten asks the runtime what the client has asked.
func (c call) resolveAsWritten(ctx context.Context, request *runtime.ImageStatusRequest, encoded []byte, name reference.Named) (resolution, error) {
	found := resolution{own: true, reference: request.GetImage().GetImage(), reason: "not on this node"}
	asked := time.Now()
	var err error
	if found.response, found.raw, err = c.runtime.RawImageStatus(ctx, encoded); err != nil {
		return found, err
	}
	image := found.image()
	c.observeAnswer(name.String(), image, asked)
	if image == nil {
		return found, nil
	}
	original := name.String()
	if c.hides(name, image) {
		found.hidden, found.response, found.raw = true, &runtime.ImageStatusResponse{}, nil
		return found, nil
	}
	found.reason = "stored under its own name"
	if known, ok := c.ledger.Lookup(original); ok && known.YieldsTo(image.Id) {
		c.apply(ledger.RemoveMoved(known)) // loaded without the shim
	}
	return found, nil
}

// hides reports whether clients do not find an image under a name that the runtime has it
// under. They always find it by a digest: CRI-O until 1.35 calls a pulled image by it
// (PullImageResponse.image_ref).
func (c call) hides(name reference.Named, image *runtime.Image) bool {
	_, digested := name.(reference.Digested)
	return !digested && (c.ledger.IsHidden(name.String(), image.Id) || c.namer.Hides(name.String()))
}

// resolveAs asks the runtime for a reference in place of the asked name.
func (c call) resolveAs(ctx context.Context, request *runtime.ImageStatusRequest, reference string) (resolution, error) {
	renamed := proto.CloneOf(request)
	renamed.Image.Image = reference
	response, raw, err := c.runtime.ImageStatusOf(ctx, renamed)
	return resolution{reference: reference, response: response, raw: raw}, err
}

// resolveName is resolve for a name in another message than ImageStatus.
func (c call) resolveName(ctx context.Context, asked string, name reference.Named, strict bool) (resolution, error) {
	request := &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: asked}}
	encoded, err := proto.Marshal(request)
	if err != nil {
		return resolution{}, err
	}
	return c.resolve(ctx, request, encoded, name, strict)
}
