package naming

import (
	"context"
	"fmt"
	"slices"
	"time"

	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
)

// dropFromLedger drops names from the ledger that were just created in the runtime. In the
// ledger they may still mean the image of an older pull.
func (p *Pull) dropFromLedger(bindings []binding) error {
	if !p.ledger.MayRestore() {
		return nil
	}
	var moved []ledger.Entry
	for _, b := range bindings {
		if known, ok := p.ledger.Lookup(b.name); ok {
			moved = append(moved, known)
		}
	}
	if err := p.ledger.Apply(ledger.RemoveMoved(moved...)); err != nil {
		return fmt.Errorf("could not drop %s from the ledger: %w", bindings[0].name, err)
	}
	return nil
}

// ledgerTimeout bounds the change of the ledger after a pull.
const ledgerTimeout = 5 * time.Second

// keepInLedger records the requested name in the ledger, which then restores it in answers. The
// runtime keeps the image under the registry's name.
func (p *Pull) keepInLedger(ctx context.Context, id string) error {
	ctx, cancel := cri.Detached(ctx, ledgerTimeout)
	defer cancel()
	if err := p.recordInLedger(ctx, id); err != nil {
		return fmt.Errorf("could not record in the ledger that %s was pulled as %s: %w", p.pull.Original, p.pull.Reference, err)
	}
	p.triggerRun()
	return nil
}

// recordInLedger makes the same change to the ledger as a pull without a namer.
func (p *Pull) recordInLedger(ctx context.Context, id string) error {
	image, err := p.runtime.ImageStatus(ctx, id)
	if err != nil || image == nil {
		return err
	}
	noted := ledger.Change{SetNames: ledger.Origin{Original: p.pull.Original, Stored: p.pull.Reference, Registry: p.pull.Registry}.Entries(image)}
	if tag, err := p.images.Get(ctx, p.pull.Reference); err == nil && tag != nil { // other digests of the image belong to other pulls
		own := imagename.Repository(p.pull.Original) + "@" + tag.GetTarget().GetDigest()
		if slices.ContainsFunc(noted.SetNames, func(e ledger.Entry) bool { return e.Original == own }) {
			noted.SetNames = slices.DeleteFunc(noted.SetNames, func(e ledger.Entry) bool { return e.Original != p.pull.Original && e.Original != own })
		}
	}
	for _, name := range append(imagename.Digests(image, p.repository), p.pull.Reference) {
		if p.gate.wasOn(p.state, name, image) {
			noted.Show = append(noted.Show, ledger.ImageRef{Reference: name, Image: image.Id})
		}
	}
	// The name no longer means the image that the runtime itself has under it.
	old, err := p.runtime.ImageStatus(ctx, p.pull.Original)
	if err != nil {
		return err
	}
	if old != nil && old.Id != image.Id {
		noted.Hide = append(noted.Hide, ledger.ImageRef{Reference: p.pull.Original, Image: old.Id})
	}
	p.gate.markMoved(p.state, p.pull.Reference)
	return p.ledger.Apply(noted)
}
