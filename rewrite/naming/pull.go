package naming

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/rewrite/containerd"
	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
)

// Pull is a pull from a registry. The pulled image gets the requested name in the runtime.
type Pull struct {
	*Namer
	pull       journaledPull
	repository string // repository of the registry's reference
	state      *repositoryPulls
	image      string // ID of the image; empty before it is named
}

// BeginPull prepares the naming of the image that is about to be pulled. It records which
// names of the registry's repository exist in the runtime, because these must stay. It
// returns nil if the runtime can't keep names. Otherwise the caller must call Complete or
// Fail when the pull has ended.
func (n *Namer) BeginPull(ctx context.Context, origin ledger.Origin) (*Pull, error) {
	if n == nil {
		return nil, nil
	}
	p := n.newPull(origin)
	var err error
	if p.state, err = n.gate.beginPull(ctx, p.repository); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	if err = p.findKept(ctx); err == nil {
		err = p.findBefore(ctx)
	}
	n.updateStatus(err)
	if err != nil {
		n.endPull(context.WithoutCancel(ctx), p.repository)
		if ctx.Err() != nil || status.Code(err) == codes.Unavailable {
			return nil, err
		}
		n.triggerRun() // probes the runtime again
		return nil, nil
	}
	n.gate.addPull(p.state, p.pull)
	if err := n.saveState(p.repository, p.state); err != nil {
		n.warn(fmt.Errorf("could not record the pull of %s in the journal, its image keeps the registry's name if the shim is killed now (see image-cri-shim doctor): %w", origin.Original, err))
	}
	n.tasks.start(ctx, func(ctx context.Context) { _, _ = n.sandbox.names(ctx, n) }) // fill the cache while the runtime pulls
	return p, nil
}

func (n *Namer) newPull(origin ledger.Origin) *Pull {
	return &Pull{
		Namer:      n,
		pull:       journaledPull{Original: origin.Original, Reference: origin.Stored, Registry: origin.Registry},
		repository: imagename.Repository(origin.Stored),
	}
}

// findBefore records the target that the requested name has before the pull.
func (p *Pull) findBefore(ctx context.Context) error {
	if strings.Contains(p.pull.Original, "@") {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	record, err := p.images.Get(ctx, p.pull.Original)
	p.pull.Before = record.GetTarget().GetDigest()
	return err
}

// saveState saves the state of a repository in the journal.
func (n *Namer) saveState(repository string, state *repositoryPulls) error {
	return n.journal.set(repository, func() journaledRepository { return n.gate.journaled(state) })
}

// findKept finds the names of the repository that must stay, unless they are already known.
func (p *Pull) findKept(ctx context.Context) error {
	if p.gate.isKeptKnown(p.state) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	records, err := p.images.List(ctx, repositoryFilter(p.repository))
	if err != nil {
		return err
	}
	kept := make(map[string]*containerd.Record, len(records))
	for _, record := range records {
		hidden := false
		if p.ledger.MayRestore() {
			image, err := p.runtime.ImageStatus(ctx, record.GetName())
			if err != nil {
				return err
			}
			hidden = p.isHidden(record.GetName(), image.GetId())
		}
		if !hidden {
			kept[record.GetName()] = record
		}
	}
	p.gate.setKept(p.state, kept)
	return nil
}

// Complete names the pulled image and ends the pull. image is its ID or the reference that it
// was pulled by. If naming fails, the image keeps the registry's names for now, and the
// ledger restores the asked ones. If the ledger can't be changed either, the namer retries in
// the background. Complete returns where the names are kept, or "" if the image was removed
// meanwhile.
func (p *Pull) Complete(ctx context.Context, image string) Mode {
	ctx = context.WithoutCancel(ctx)
	defer p.end(ctx)
	err := p.nameBrought(ctx, image)
	switch {
	case err == nil:
		p.gate.finish(p.state, p.pull)
		return InRuntime
	case errors.Is(err, errRemoved):
		p.gate.finish(p.state, p.pull)
		return ""
	}
	p.warn(fmt.Errorf("could not create the name %s in the runtime, the image keeps the name %s for now: %w", p.pull.Original, p.pull.Reference, err))
	if err := p.keepInLedger(ctx, image); err != nil {
		p.warn(err)
		p.postpone(true)
	}
	return InLedger
}

// nameBrought names the pulled image. If the image was removed meanwhile, nameBrought records
// the remaining names of the pull for deletion.
func (p *Pull) nameBrought(ctx context.Context, image string) error {
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	err := p.nameAdded(ctx, image)
	if errors.Is(err, errRemoved) {
		return errors.Join(err, p.addLeftovers(ctx, image))
	}
	return err
}

// nameAdded names an image, and records the registry's names that the last pull from the
// repository deletes.
func (p *Pull) nameAdded(ctx context.Context, image string) error {
	added, err := p.name(ctx, image)
	if err != nil {
		return err
	}
	p.image = image
	p.gate.addCreated(p.state, image, added...)
	return p.restoreTag(ctx, image)
}

// restoreTag moves the registry's tag back to its former image, if the tag must stay and the
// pull has moved it.
func (p *Pull) restoreTag(ctx context.Context, image string) error {
	kept := p.gate.keptRecord(p.state, p.pull.Reference)
	if kept.GetTarget() == nil {
		return nil
	}
	current, err := p.images.Get(ctx, p.pull.Reference)
	if err != nil || current == nil || sameTarget(current, kept) {
		return err
	}
	if back, err := p.restoreRecord(ctx, kept); err != nil || !back {
		return err
	}
	_, err = p.awaitView(ctx, p.pull.Reference, func(id string, _ []string) bool { return id != image })
	return err
}

// end ends the pull. The last pull from the repository deletes the registry's names that
// pulls for other names have added. Until then the ledger hides them.
func (p *Pull) end(ctx context.Context) {
	if p.image != "" {
		if p.endLastPull(ctx, p.repository) {
			return
		}
		// Another pull is in progress. The ledger has to have the names before this pull ends,
		// because the last pull removes them from it.
		if err := p.keepInLedger(ctx, p.image); err != nil {
			p.warn(err)
		}
	}
	p.endPull(ctx, p.repository)
}
