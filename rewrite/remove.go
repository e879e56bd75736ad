package rewrite

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/distribution/reference"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/printable"
	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
)

// removeImage removes the image that ImageStatus shows for a name, and no other image.
// Afterwards the name means no image.
func (c call) removeImage(ctx context.Context, encoded []byte) ([]byte, error) {
	request := &runtime.RemoveImageRequest{}
	if proto.Unmarshal(encoded, request) != nil || request.GetImage().GetImage() == "" {
		return c.forward(ctx, encoded)
	}
	start := time.Now()
	r := removal{call: c, request: request, encoded: encoded}
	decision := Decision{Method: "RemoveImage", Asked: printable.Line(request.Image.Image, nameLimit), Reason: "not on this node", Outcome: OutcomeNone}
	err := r.run(ctx)
	if r.removed != "" {
		decision.Served, decision.Reason, decision.Outcome = r.removed, "removed", OutcomeRemoved
	}
	if err != nil {
		decision.Reason, decision.Outcome = "not removed", OutcomeFailed
	}
	decision.Reason, decision.Failed = r.failed.explain(decision.Reason), r.failed.first()
	decision.Duration, decision.Err = time.Since(start), err
	c.decided(ctx, decision)
	return r.response, err
}

// removal is one RemoveImage.
type removal struct {
	call
	request  *runtime.RemoveImageRequest
	encoded  []byte          // request as received
	name     reference.Named // requested name; nil for an ID
	removed  string          // reference or ID that was removed last; empty if none
	response []byte          // last answer of the runtime
	failed   failedLookups   // references for which the runtime failed to answer
}

// run looks for the image in the order of [call.resolve]: the name itself, the image in the
// ledger, and the references of the registries. If the runtime has the ledger's image under
// the name itself too, it removes both references.
func (r *removal) run(ctx context.Context) error {
	asked := time.Now()
	own, err := r.runtime.ImageStatus(ctx, r.request.Image.Image)
	if err != nil && cri.EndsCall(err) {
		return err
	}
	name, parseErr := imagename.Parse(r.request.Image.Image)
	if own == nil && err == nil && (parseErr == nil || errors.Is(parseErr, imagename.ErrImageID)) && r.namer.MayBring(name) {
		// There is no image to remove yet. The runtime would remove a part of the image that
		// a pull is about to store.
		r.response, err = proto.Marshal(&runtime.RemoveImageResponse{})
		return err
	}
	if parseErr != nil {
		return r.removeAsWritten(ctx, own, err)
	}
	r.name = name
	if err == nil {
		r.observeAnswer(r.original(), own, asked)
	}
	if r.isNewer(own) {
		return r.removeAsWritten(ctx, own, err)
	}
	if err := r.removeLedgerImage(ctx); err != nil {
		return err
	}
	if r.removed == "" && !r.isVisible(own) {
		if err := r.removePreloaded(ctx); err != nil {
			return err
		}
	}
	return r.removeAsWritten(ctx, own, err)
}

// isVisible reports whether ImageStatus shows own, the image that the runtime has under the
// requested name or ID itself.
func (r *removal) isVisible(own *runtime.Image) bool {
	return own != nil && (r.name == nil || !r.hides(r.name, own))
}

// isNewer reports whether own makes the ledger's entry for the name obsolete, and drops the
// entry in this case.
func (r *removal) isNewer(own *runtime.Image) bool {
	known, ok := r.ledger.Lookup(r.original())
	if !ok || !r.isVisible(own) || !known.YieldsTo(own.Id) {
		return false
	}
	r.apply(ledger.RemoveMoved(known))
	return true
}

// original returns the original reference of the requested name, or an empty string for an ID.
func (r *removal) original() string {
	if r.name == nil {
		return ""
	}
	return r.name.String()
}

// removeLedgerImage removes the image that the ledger has for the name.
func (r *removal) removeLedgerImage(ctx context.Context) error {
	known, ok := r.ledger.Lookup(r.original())
	if !ok {
		return nil
	}
	asked := time.Now()
	found, err := r.resolveEntry(ctx, &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{}}, known)
	r.failed = append(r.failed, found.failed...)
	if err != nil && cri.EndsCall(err) {
		return err
	}
	switch image := found.image(); {
	case found.response == nil:
		return nil
	case image == nil:
		r.forgetImage(known.Image, asked) // removed without the shim
		return nil
	case !r.ledger.IsStillOn(known, image):
		return nil
	case imagename.Has(image, known.Stored):
		return r.removeStored(ctx, known, image)
	case r.untags(ctx):
		gone := []string{known.Original}
		if known.Preloaded {
			gone = append(gone, known.Stored) // the runtime has another image under it
		}
		return r.removeLedgerName(ctx, ledger.Change{RemoveNames: gone}, image.Id)
	default:
		return r.remove(ctx, known.Image, image.Id)
	}
}

// remove calls RemoveImage for a reference or ID of an image, and updates the ledger.
// containerd removes an image with all its names. CRI-O removes only the given name, and the
// image with its last name.
func (r *removal) remove(ctx context.Context, reference, image string) error {
	done, err := r.namer.Use(ctx, image)
	if err != nil {
		return err
	}
	err = r.forwardAs(ctx, reference)
	done()
	if err != nil {
		return err
	}
	r.removed = reference
	return r.updateLedger(ctx, image, false)
}

// updateLedger updates the ledger after a reference or name of an image was removed. If the
// image has only hidden tags left, updateLedger removes the image too. nameless is set if only
// the ledger has changed, so that the image may remain in the runtime without any tag.
func (r *removal) updateLedger(ctx context.Context, image string, nameless bool) error {
	if r.ledger.IsEmpty() {
		return nil
	}
	asked := time.Now()
	left, err := r.runtime.ImageStatus(ctx, image)
	if err != nil {
		r.failed.add(image, err) // keep the records until the runtime answers
		return nil
	}
	if left != nil {
		r.apply(ledger.Change{RemoveNames: []string{r.original()}})
		pulling := slices.ContainsFunc(left.RepoTags, r.ledger.IsPulling)
		if hidden := r.ledger.RestoreImage(left); pulling || !hidden && !nameless || len(left.RepoTags) > 0 {
			return nil
		}
		asked = time.Now()
		if err := r.forwardAs(ctx, image); err != nil {
			return err
		}
	}
	r.forgetImage(image, asked)
	return nil
}

// forwardAs sends the request with a reference or ID in place of the requested name.
func (r *removal) forwardAs(ctx context.Context, reference string) (err error) {
	encoded := r.encoded
	if reference != r.request.Image.Image {
		renamed := proto.CloneOf(r.request)
		renamed.Image.Image = reference
		if encoded, err = proto.Marshal(renamed); err != nil {
			return err
		}
	}
	r.response, err = r.forward(ctx, encoded)
	return err
}
