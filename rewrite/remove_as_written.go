package rewrite

import (
	"context"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// removeAsWritten removes the image that the runtime has under the requested name or ID itself,
// unless the name is hidden. own is this image, and failure is the runtime's error if it
// failed to answer for the name. If no image is removed at all, removeAsWritten returns the
// runtime's error for another reference, or else forwards the request unchanged.
func (r *removal) removeAsWritten(ctx context.Context, own *runtime.Image, failure error) error {
	asked := r.request.Image.Image
	if r.removed != "" && own != nil {
		own, failure = r.runtime.ImageStatus(ctx, asked) // the removal may have removed it, or one of its tags
	}
	switch {
	case failure != nil:
		return r.removeUnresolved(ctx, asked, failure)
	case r.isVisible(own):
		return r.removeShown(ctx, asked, own)
	case r.removed != "":
		return r.removeLeftover(ctx, own)
	}
	if err := r.failed.err(); err != nil || own != nil {
		return err
	}
	return r.forwardAs(ctx, asked)
}

// removeLeftover removes the older image that the runtime still has under the requested name after
// the newer one was removed, if clients see no name on it. Otherwise the name would stay
// hidden on that image even if the image was loaded again.
func (r *removal) removeLeftover(ctx context.Context, own *runtime.Image) error {
	if own == nil || len(r.ledger.VisibleNames(own)) > 0 || r.ledger.IsPulling(r.original()) {
		return nil
	}
	return r.remove(ctx, r.request.Image.Image, own.Id)
}

// removeUnresolved forwards the client's request unchanged if the runtime has failed to answer
// for the requested name or ID. It does not forward the request in three cases: an image was
// removed already, the image may be under another reference, or the name may be hidden, so
// that the request would remove the image of another name.
func (r *removal) removeUnresolved(ctx context.Context, asked string, failure error) error {
	elsewhere := r.failed.err()
	r.failed.add(asked, failure)
	_, hidden := r.ledger.HiddenOn(r.original())
	switch {
	case r.removed != "":
		return nil
	case elsewhere != nil || hidden || r.ledger.IsPulling(r.original()):
		return failure
	}
	if err := r.forwardAs(ctx, asked); err != nil {
		return err
	}
	r.removed = asked
	return nil
}
