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
	own       bool   // the answer is for the name itself, with or without an image
	hidden    bool   // the runtime has an image under the name itself, but the name is hidden
	reference string // reference or ID that the runtime was asked for
	registry  string // address of the registry that served the image; empty for the original registry
	reason    string
	response  *runtime.ImageStatusResponse // nil if the runtime's answer can't be decoded
	raw       []byte                       // the runtime's answer as received
	failed    failedLookups                // other references for which the runtime failed to answer
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

// resolve finds the image of a name in the runtime. It asks no registry. For nginx:1.25 it
// tries, in this order:
//
//   - the name as the client wrote it;
//   - the image that the ledger has for docker.io/library/nginx:1.25;
//   - the reference of each registry, such as hub:5000/library/nginx:1.25, if the image there
//     is a preloaded one.
//
// The name itself comes first although most names are in the ledger, because a visible image
// under the name is newer than the ledger's entry, and was added without the shim. The
// runtime is asked for both at the same time.
//
// A hidden reference is not found, because it was stored for another name. If no image is
// found, the resolution has no image, and its response is the answer for the client.
//
// request contains the name as the client wrote it, and encoded is its encoding. If no image
// is found and the runtime has failed to answer for a registry's reference, resolve returns
// this error only if strict is set. It is logged in any case.
func (c call) resolve(ctx context.Context, request *runtime.ImageStatusRequest, encoded []byte, name reference.Named, strict bool) (resolution, error) {
	start := time.Now()
	found, err := c.find(ctx, request, encoded, name)
	if strict && err == nil && found.image() == nil {
		err = found.failed.err()
	}
	if err != nil {
		found.reason = "the runtime failed to answer"
	}
	decision := Decision{
		Method:   path.Base(c.method),
		Asked:    printable.Line(request.Image.Image, nameLimit),
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

// find implements resolve without reporting a decision.
func (c call) find(ctx context.Context, request *runtime.ImageStatusRequest, encoded []byte, name reference.Named) (resolution, error) {
	ctx, cancel := context.WithCancel(ctx)
	known := c.askLedgerImage(ctx, request, name.String())
	defer func() {
		cancel()
		if known != nil {
			for range known { // wait for the end of the goroutine
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

// resolveElsewhere looks for the image under all references except the name itself. known is
// the result of askLedgerImage.
func (c call) resolveElsewhere(ctx context.Context, request *runtime.ImageStatusRequest, name reference.Named, known <-chan ledgerImage) (resolution, error) {
	pulled, err := c.resolveLedgerImage(known)
	if pulled.image() != nil || err != nil {
		return pulled, err
	}
	found, err := c.resolveCandidates(ctx, request, name)
	found.failed = append(pulled.failed, found.failed...)
	return found, err
}

// resolveAsWritten asks the runtime for the name as the client wrote it.
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

// hides reports whether clients do not find an image by a name that it has in the runtime. A
// digest reference is never hidden in this sense, because CRI-O until 1.35 returns it for a
// pulled image (PullImageResponse.image_ref).
func (c call) hides(name reference.Named, image *runtime.Image) bool {
	_, digested := name.(reference.Digested)
	return !digested && (c.ledger.IsHidden(name.String(), image.Id) || c.namer.Hides(name.String()))
}

// resolveAs asks the runtime for a reference or ID in place of the requested name.
func (c call) resolveAs(ctx context.Context, request *runtime.ImageStatusRequest, reference string) (resolution, error) {
	renamed := proto.CloneOf(request)
	renamed.Image.Image = reference
	response, raw, err := c.runtime.ImageStatusOf(ctx, renamed)
	return resolution{reference: reference, response: response, raw: raw}, err
}

// resolveName calls resolve for a name from a message other than ImageStatus.
func (c call) resolveName(ctx context.Context, asked string, name reference.Named, strict bool) (resolution, error) {
	request := &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: asked}}
	encoded, err := proto.Marshal(request)
	if err != nil {
		return resolution{}, err
	}
	return c.resolve(ctx, request, encoded, name, strict)
}
