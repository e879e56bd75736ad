package rewrite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// What the ledger has to know of a pull. While one is under way its stored
// reference is announced, which hides it from clients and from other pulls.

// earlier is what a candidate's reference meant before its pull.
type earlier struct {
	image   *runtime.Image // nil if nothing
	visible bool           // somebody else than the shim has asked for the reference
}

// announce begins the pull of a reference. Every call needs a withdraw of the
// ledger.
func (p *pull) announce(ctx context.Context, reference string) (earlier, error) {
	alone := p.ledger.announce(reference)
	image, err := p.runtime.status(ctx, reference)
	if err != nil || image == nil {
		return earlier{}, err
	}
	on, hidden := p.ledger.hiddenOn(reference)
	visible := alone && hasName(image, reference) && (!hidden || on != image.Id)
	return earlier{image: image, visible: visible}, nil
}

// afterwards is the context of what has to be noted once a pull has ended,
// whether or not the client still waits.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
}

// recordMoved notes that the asked name means the image that was pulled as a
// candidate's reference.
func (p *pull) recordMoved(ctx context.Context, candidate Candidate, before earlier, response []byte) {
	original, stored := p.name.String(), candidate.Reference
	image, err := p.pulledImage(ctx, stored, response)
	if err != nil {
		p.warn(fmt.Errorf("look at %s after it was pulled as %s: %w", original, stored, err))
	}
	if image == nil {
		return // removed meanwhile
	}
	noted := p.hiding(stored, before, image)
	noted.Name = append(noted.Name, namesFrom(original, candidate, image)...)
	// The image that the runtime itself has under the name has lost it.
	old, err := p.runtime.status(ctx, original)
	switch {
	case err != nil:
		p.warn(fmt.Errorf("look for an older image of %s: %w", original, err))
	case old != nil && old.Id != image.Id:
		noted.Hide = append(noted.Hide, hiding{Reference: original, Image: old.Id})
	}
	p.apply(noted)
}

// pulledImage returns the image that a pull has brought: the one that the
// runtime's answer names, as the reference may have moved on already. Where the
// runtime can't be asked any more the answer's ID has to do.
func (p *pull) pulledImage(ctx context.Context, stored string, response []byte) (*runtime.Image, error) {
	pulled := &runtime.PullImageResponse{}
	if proto.Unmarshal(response, pulled) != nil || pulled.ImageRef == "" {
		return p.runtime.status(ctx, stored)
	}
	image, err := p.runtime.status(ctx, pulled.ImageRef)
	if _, parseErr := Parse(pulled.ImageRef); err != nil && errors.Is(parseErr, ErrImageID) {
		return &runtime.Image{Id: pulled.ImageRef}, err
	}
	return image, err
}

// recordFailed notes the image that a failed pull has left under the stored
// reference. The pull may also have succeeded after its client had gone.
func (p *pull) recordFailed(ctx context.Context, stored string, before earlier) {
	if before.visible {
		return
	}
	image, err := p.runtime.status(ctx, stored)
	switch {
	case err != nil && !ends(err): // the runtime is there, and the pull's error does not have this one
		p.warn(fmt.Errorf("look for %s after its pull failed: %w", stored, err))
	case image != nil:
		p.apply(p.hiding(stored, before, image))
	}
}

// hiding hides a stored reference and the digests that came with it on the image
// that was pulled. Who has asked for that very reference before still finds the
// image that it meant then.
func (p *pull) hiding(stored string, before earlier, image *runtime.Image) change {
	var noted change
	for _, reference := range append([]string{stored}, digestsOf(image, repository(stored))...) {
		if p.wasVisible(reference, stored, before) {
			noted.Name = append(noted.Name, entry{Original: reference, Image: before.image.Id, Stored: reference})
		}
		noted.Hide = append(noted.Hide, hiding{Reference: reference, Image: image.Id})
	}
	return noted
}

// wasVisible tells whether a reference that came with the stored one was to be
// seen before the pull: a digest if one of its repository's tags was.
func (p *pull) wasVisible(reference, stored string, before earlier) bool {
	if reference == stored || before.image == nil {
		return before.visible
	}
	if !hasName(before.image, reference) || p.ledger.isHidden(reference, before.image.Id) {
		return false
	}
	return before.visible || slices.ContainsFunc(before.image.RepoTags, func(tag string) bool {
		return repository(tag) == repository(stored) && !p.ledger.isHidden(tag, before.image.Id)
	})
}

// namesFrom are the names that an original has once it is there as a candidate:
// its own, and those with the digests of the candidate's repository.
func namesFrom(original string, candidate Candidate, image *runtime.Image) []entry {
	name := func(original, reference string) entry {
		return entry{Original: original, Image: image.Id, Stored: reference, Registry: candidate.Registry}
	}
	names := []entry{name(original, candidate.Reference)}
	for _, reference := range digestsOf(image, repository(candidate.Reference)) {
		if _, digest, ok := strings.Cut(reference, "@"); ok && reference != candidate.Reference {
			names = append(names, name(repository(original)+"@"+digest, reference))
		}
	}
	return names
}

// recordOwn notes that the runtime has the image under the name itself. The
// ledger's entry for the name stays if it has the same image, whose containers may
// show the registry's reference, or if the runtime fails to say which image it is.
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
		if known, ok := p.ledger.lookup(reference); ok && err == nil && known.Image != image.GetId() {
			noted.Unname = append(noted.Unname, reference)
		}
		if image != nil && p.ledger.isAnnounced(original) {
			// Who is pulling it for another name is about to hide it.
			noted.Name = append(noted.Name, entry{Original: reference, Image: image.Id, Stored: reference})
		}
	}
	p.apply(noted)
}
