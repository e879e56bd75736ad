package rewrite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// What the ledger has to know of a pull.

// earlier is what a candidate's reference meant before its pull.
type earlier struct {
	image    *runtime.Image // nil if nothing
	hidden   bool
	hiddenOn string // where
}

// visible tells whether the image is to be seen under a reference: whether
// somebody else than the shim has asked for that.
func (e earlier) visible(reference string) bool {
	return e.image != nil && hasName(e.image, reference) && (!e.hidden || (e.hiddenOn != e.image.Id && e.hiddenOn != anyImage))
}

// announce hides the reference that is about to be pulled, unless it is visible
// already. So it stays hidden even if nobody learns how the pull ends, and for
// whoever pulls it at the same time.
func (p *pull) announce(ctx context.Context, reference string) (earlier, error) {
	image, err := p.runtime.status(ctx, reference)
	if err != nil {
		return earlier{}, err
	}
	before := earlier{image: image}
	before.hiddenOn, before.hidden = p.ledger.hiddenOn(reference)
	if reference != p.name.String() && !before.visible(reference) {
		p.apply(change{Hide: []hiding{{Reference: reference, Image: anyImage}}})
	}
	return before, nil
}

// withdraw undoes announce after a pull that has certainly failed.
func (p *pull) withdraw(ctx context.Context, reference string, before earlier) {
	if ctx.Err() != nil || reference == p.name.String() || before.visible(reference) {
		return
	}
	if before.hidden {
		p.apply(change{Hide: []hiding{{Reference: reference, Image: before.hiddenOn}}})
	} else {
		p.apply(change{Show: []string{reference}})
	}
}

// afterwards is the context of what has to be noted once a pull has succeeded,
// whether or not the client still waits.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
}

// recordMoved notes that the asked name means the image that is now stored under
// a candidate's reference.
func (p *pull) recordMoved(ctx context.Context, candidate Candidate, before earlier) {
	original, stored := p.name.String(), candidate.Reference
	after, err := p.runtime.status(ctx, stored)
	if err != nil {
		p.warn(fmt.Errorf("look at %s after it was pulled as %s: %w", original, stored, err))
		return
	}
	if after == nil {
		return // removed meanwhile
	}
	var noted change
	name := func(original, image, reference string) {
		noted.Name = append(noted.Name, entry{Original: original, Image: image, Stored: reference, Registry: candidate.Registry})
	}
	name(original, after.Id, stored)
	for _, reference := range append([]string{stored}, digestsOf(after, repository(stored))...) {
		// Who has asked for that very reference before still finds its image there.
		if p.wasVisible(reference, stored, before) {
			name(reference, before.image.Id, reference)
		}
		noted.Hide = append(noted.Hide, hiding{Reference: reference, Image: after.Id})
		if _, digest, ok := strings.Cut(reference, "@"); ok {
			name(repository(original)+"@"+digest, after.Id, reference)
		}
	}
	// The image that the runtime itself has under the name has lost it.
	if old, err := p.runtime.status(ctx, original); err == nil && old != nil {
		noted.Hide = append(noted.Hide, hiding{Reference: original, Image: old.Id})
	}
	p.apply(noted)
}

// wasVisible tells whether a reference that came with the stored one was to be
// seen before the pull: a digest if one of its repository's tags was.
func (p *pull) wasVisible(reference, stored string, before earlier) bool {
	if reference == stored {
		return before.visible(stored)
	}
	if before.image == nil || !hasName(before.image, reference) || p.ledger.isHidden(reference, before.image.Id) {
		return false
	}
	return slices.ContainsFunc(before.image.RepoTags, func(tag string) bool {
		return repository(tag) == repository(stored) && !p.ledger.isHidden(tag, before.image.Id)
	})
}

// recordOwn notes that the runtime has the image under the name itself. What the
// ledger has for it stays where that is the same image: its containers may show
// the registry's reference.
func (p *pull) recordOwn(ctx context.Context) {
	if p.ledger.empty() {
		return
	}
	original := p.name.String()
	image, err := p.runtime.status(ctx, original)
	if err != nil {
		p.warn(fmt.Errorf("look at %s after its pull: %w", original, err))
	}
	noted := change{Show: append([]string{original}, digestsOf(image, repository(original))...)}
	for _, reference := range noted.Show {
		if known, ok := p.ledger.lookup(reference); ok && known.Image != image.GetId() {
			noted.Unname = append(noted.Unname, reference)
		}
	}
	p.apply(noted)
}
