package rewrite

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/rewrite/containerd"
	"image-cri-shim/rewrite/imagename"
)

// pullNaming is the naming of one pull from a registry.
type pullNaming struct {
	*Namer
	pull       journaledPull
	repository string // of the registry's reference
	state      *repositoryPulls
	image      string // the ID of the image that was named; empty before
}

// begin prepares the naming of a pull: it notes the names that the registry's
// repository has in the runtime, since these stay. It returns nil if the runtime keeps
// no names. Every other result needs a call of end.
func (n *Namer) begin(ctx context.Context, pull journaledPull) (*pullNaming, error) {
	if n == nil {
		return nil, nil
	}
	p := &pullNaming{Namer: n, pull: pull, repository: imagename.Repository(pull.Reference)}
	var err error
	if p.state, err = n.gate.enter(ctx, p.repository); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	if err = p.list(ctx); err == nil {
		err = p.noteBefore(ctx)
	}
	n.note(err)
	if err != nil {
		n.leave(context.WithoutCancel(ctx), p.repository)
		if ctx.Err() != nil || status.Code(err) == codes.Unavailable {
			return nil, err
		}
		n.again() // asks whether the runtime keeps names
		return nil, nil
	}
	n.gate.announce(p.state, p.pull)
	if err := n.saveState(p.repository, p.state); err != nil {
		n.warn(fmt.Errorf("could not note the pull of %s, whose image keeps the registry's name if the shim is killed now: %w", pull.Original, err))
	}
	n.tasks.start(ctx, func(ctx context.Context) { _, _ = n.sandbox.names(ctx, n) }) // while the runtime pulls
	return p, nil
}

// noteBefore notes which image the asked name means now.
func (p *pullNaming) noteBefore(ctx context.Context) error {
	if strings.Contains(p.pull.Original, "@") {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	record, err := p.images.Get(ctx, p.pull.Original)
	p.pull.Before = record.GetTarget().GetDigest()
	return err
}

// saveState saves what the journal has to hold of a repository now.
func (n *Namer) saveState(repository string, state *repositoryPulls) error {
	return n.journal.set(repository, func() journaledRepository { return n.gate.journaled(state) })
}

// list notes which names of the repository stay, unless that is known already.
func (p *pullNaming) list(ctx context.Context) error {
	if p.gate.isListed(p.state) {
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
	p.gate.list(p.state, kept)
	return nil
}

// pulled names the image that the pull has brought, and ends the pull. If that fails the
// image keeps the registry's names for now and the ledger restores the asked ones. If the
// runtime can't be asked for that either, the image is named later. It returns where the
// names are kept, nothing if the image was removed meanwhile.
func (p *pullNaming) pulled(ctx context.Context, image string) NamingMode {
	ctx = context.WithoutCancel(ctx)
	defer p.end(ctx)
	err := p.succeed(ctx, image)
	switch {
	case err == nil:
		p.gate.finish(p.state, p.pull)
		return NamesInRuntime
	case errors.Is(err, errRemoved):
		p.gate.finish(p.state, p.pull)
		return ""
	}
	p.warn(fmt.Errorf("could not give %s its name in the runtime, it keeps the name %s for now: %w", p.pull.Original, p.pull.Reference, err))
	if err := p.remember(ctx, image); err != nil {
		p.warn(err)
		p.postpone(true)
	}
	return NamesInLedger
}

// succeed names the image that the pull has brought. If that fails the image keeps
// the registry's names, and the error says why. If the image was removed meanwhile, what
// the pull has left of it goes too.
func (p *pullNaming) succeed(ctx context.Context, image string) error {
	ctx, cancel := context.WithTimeout(ctx, namingTimeout)
	defer cancel()
	err := p.nameAdded(ctx, image)
	if errors.Is(err, errRemoved) {
		return errors.Join(err, p.addLeftovers(ctx, image))
	}
	return err
}

// nameAdded names an image, and notes which names the last pull from the repository
// deletes.
func (p *pullNaming) nameAdded(ctx context.Context, image string) error {
	added, err := p.name(ctx, image)
	if err != nil {
		return err
	}
	p.image = image
	p.gate.add(p.state, image, added...)
	return p.giveBack(ctx, image)
}

// giveBack gives the registry's tag the image back that it had, if it is one that stays and
// that the pull has moved.
func (p *pullNaming) giveBack(ctx context.Context, image string) error {
	kept := p.gate.keptRecord(p.state, p.pull.Reference)
	if kept.GetTarget() == nil {
		return nil
	}
	current, err := p.images.Get(ctx, p.pull.Reference)
	if err != nil || current == nil || sameTarget(current, kept) {
		return err
	}
	if back, err := p.putBack(ctx, kept); err != nil || !back {
		return err
	}
	_, err = p.awaitView(ctx, p.pull.Reference, func(id string, _ []string) bool { return id != image })
	return err
}

// end ends the pull. The last pull from the repository deletes the names that pulls for
// other names have added. Until then the ledger hides them.
func (p *pullNaming) end(ctx context.Context) {
	if p.leave(ctx, p.repository) || p.image == "" {
		return
	}
	if err := p.remember(ctx, p.image); err != nil {
		p.warn(err)
	}
}
