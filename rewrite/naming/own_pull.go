package naming

import (
	"context"
	"fmt"

	"github.com/distribution/reference"
	"google.golang.org/grpc/status"

	"image-cri-shim/rewrite/containerd"
	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/imagename"
)

// BeginOwnPull begins a pull by an image's own name. If it returns no error, the caller must
// call end when the pull has ended. Both do nothing if the names are kept in the ledger and
// no pull from a registry is in progress.
func (n *Namer) BeginOwnPull(ctx context.Context, name reference.Named) (end func(pulled bool), err error) {
	if n == nil || n.Status().Mode == InLedger && n.Idle() {
		return func(bool) {}, nil
	}
	in := imagename.Repository(name.String())
	n.gate.forgetDeleted(in)
	state, err := n.gate.beginPull(ctx, in)
	if err != nil {
		return nil, status.FromContextError(err).Err()
	}
	return func(pulled bool) {
		ctx := context.WithoutCancel(ctx)
		if pulled && !n.gate.isAlone(state) {
			n.keepOwn(ctx, state, name.String())
		}
		n.flushJournal() // so that a repair of an earlier pull for another name does not delete this name
		n.endPull(ctx, in)
	}, nil
}

// keepOwn records that the name, and its digest reference, must stay.
func (n *Namer) keepOwn(ctx context.Context, state *repositoryPulls, name string) {
	ctx, cancel := cri.Detached(ctx, ledgerTimeout)
	defer cancel()
	records, err := n.ownRecords(ctx, name)
	if err != nil {
		n.warn(fmt.Errorf("could not read the record of %s after its pull: %w", name, err))
		records = []*containerd.Record{{Name: name}} // stays with any target
	}
	n.gate.keep(state, records...)
	if !n.gate.isKeptKnown(state) {
		return // no pull for another name has begun
	}
	if err := n.saveState(imagename.Repository(name), state); err != nil {
		n.warn(fmt.Errorf("could not record in the journal that %s must stay, it may be deleted if the shim is killed now (see image-cri-shim doctor): %w", name, err))
	}
}

// ownRecords returns the record of a name and the record of its digest reference. It omits a
// record that does not exist.
func (n *Namer) ownRecords(ctx context.Context, name string) (records []*containerd.Record, err error) {
	record, err := n.images.Get(ctx, name)
	if err != nil || record == nil {
		return nil, err
	}
	digest, err := n.images.Get(ctx, imagename.Repository(name)+"@"+record.GetTarget().GetDigest())
	if err != nil || digest == nil {
		return []*containerd.Record{record}, err
	}
	return []*containerd.Record{record, digest}, nil
}
