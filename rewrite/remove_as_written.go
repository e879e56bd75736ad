package rewrite

import (
	"context"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// removeAsWritten lets the runtime remove the image that it has under the asked name or
// ID itself, unless that is hidden. own is that image, and failure the runtime's error in
// its place. If nothing was removed at all, the answer is the runtime's error about
// another reference, or else its answer to the request.
func (r *removal) removeAsWritten(ctx context.Context, own *runtime.Image, failure error) error {
	asked := r.request.Image.Image
	if r.removed != "" && own != nil {
		own, failure = r.runtime.ImageStatus(ctx, asked) // it may have gone, or lost a tag
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

// removeLeftover removes the older image that the runtime still has under the name
// itself, after the newer one was removed, if clients see no name on it. Otherwise the
// name would be hidden on that image even if it was loaded again.
func (r *removal) removeLeftover(ctx context.Context, own *runtime.Image) error {
	if own == nil || len(r.ledger.VisibleNames(own)) > 0 || r.ledger.IsPulling(r.original()) {
		return nil
	}
	return r.remove(ctx, r.request.Image.Image, own.Id)
}

// removeUnresolved removes the asked name or ID when the runtime has failed to say
// what it has under it. The request is the client's own, and the runtime's answer
// to it is as true as without the shim. It is not sent if something was removed,
// if the image may be under another reference, or if the name may be hidden: it
// would then remove another name's image.
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
