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

	"image-cri-shim/rewrite/imagename"
)

// This file holds what the ledger records of a pull. While a pull is in progress its
// stored reference is announced, which hides the images that the pull brings from
// clients and from other pulls.

// earlier is the state of a candidate's repository before its pull.
type earlier struct {
	visible []string // the digests of the repository that clients saw
}

// announce begins the pull of what a registry has found. If it returns no error, the ledger
// needs a withdraw.
func (p *pull) announce(ctx context.Context, answer Answer) (earlier, error) {
	image, err := p.runtime.status(ctx, answer.Reference)
	if err != nil {
		return earlier{}, err
	}
	in := imagename.Repository(answer.Reference)
	before := earlier{visible: p.visibleDigests(image, in)}
	if answer.Digest != "" {
		// If it can't be asked for, the digest counts as one that the pull brings.
		if found, err := p.runtime.status(ctx, in+"@"+answer.Digest); err == nil && found != nil {
			before.visible = append(before.visible, p.visibleDigests(found, in)...)
		}
	}
	p.ledger.announce(answer.Reference, image)
	return before, nil
}

// visibleDigests returns the digests of a repository that clients see on an image.
func (c call) visibleDigests(image *runtime.Image, in string) []string {
	return slices.DeleteFunc(imagename.Digests(image, in), func(digest string) bool { return c.ledger.isHidden(digest, image.GetId()) })
}

// afterwards returns the context of the records that follow a pull, whether or not the
// client still waits.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
}

// recordMoved records that the asked name means the image that was pulled as a
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
	// The image that the runtime itself has under the name has lost it.
	old, err := p.runtime.status(ctx, original)
	if err != nil {
		p.warn(fmt.Errorf("look for an older image of %s: %w", original, err))
	}
	p.ledger.recording.Lock()
	defer p.ledger.recording.Unlock()
	noted := p.hiding(stored, before, image)
	noted.Name = append(noted.Name, namesFrom(original, candidate, image, false)...)
	if err == nil && old != nil && old.Id != image.Id {
		noted.Hide = append(noted.Hide, pair{Reference: original, Image: old.Id})
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
	if _, parseErr := imagename.Parse(pulled.ImageRef); err != nil && errors.Is(parseErr, imagename.ErrImageID) {
		return &runtime.Image{Id: pulled.ImageRef}, err
	}
	return image, err
}

// recordFailed records the image that a failed pull has left under the stored
// reference. The pull may also have succeeded after its client had gone.
func (p *pull) recordFailed(ctx context.Context, stored string, before earlier) {
	image, err := p.runtime.status(ctx, stored)
	switch {
	case err != nil && !ends(err): // the runtime is there, and the pull's error does not have this one
		p.warn(fmt.Errorf("look for %s after its pull failed: %w", stored, err))
	case image != nil:
		p.ledger.recording.Lock()
		defer p.ledger.recording.Unlock()
		p.apply(p.hiding(stored, before, image))
	}
}

// hiding returns the change that hides a stored reference, and the digests that came with
// it, on the image that was pulled. References that clients saw on this image stay
// visible. A client that has asked for the stored reference itself still finds the image
// that it meant.
func (p *pull) hiding(stored string, before earlier, image *runtime.Image) change {
	var noted change
	on, visible := p.ledger.visibleOn(stored)
	shown := visible && on == image.Id
	if visible && !shown {
		noted.Name = append(noted.Name, entry{Original: stored, Image: on, Stored: stored})
	}
	note := func(on pair, shown bool) {
		if shown {
			noted.Ask = append(noted.Ask, on)
		} else {
			noted.Hide = append(noted.Hide, on)
		}
	}
	note(pair{Reference: stored, Image: image.Id}, shown)
	for _, digest := range imagename.Digests(image, imagename.Repository(stored)) {
		if digest != stored {
			on := pair{Reference: digest, Image: image.Id}
			note(on, slices.Contains(before.visible, digest) || p.ledger.askedWhilePulled(stored, on))
		}
	}
	return noted
}

// namesFrom returns the names that an original has once it is there as a candidate:
// its own, and those with the digests of the candidate's repository.
func namesFrom(original string, candidate Candidate, image *runtime.Image, preloaded bool) []entry {
	name := func(original, reference string) entry {
		return entry{Original: original, Image: image.Id, Stored: reference, Registry: candidate.Registry, Preloaded: preloaded}
	}
	names := []entry{name(original, candidate.Reference)}
	for _, reference := range imagename.Digests(image, imagename.Repository(candidate.Reference)) {
		if _, digest, ok := strings.Cut(reference, "@"); ok && reference != candidate.Reference {
			names = append(names, name(imagename.Repository(original)+"@"+digest, reference))
		}
	}
	return names
}

// recordOwn records that the runtime has the image under the name itself. The
// ledger's entry for the name stays if it has the same image, whose containers may
// show the registry's reference, or if the runtime fails to say which image it is.
func (p *pull) recordOwn(ctx context.Context) {
	if p.ledger.empty() && (p.namer.inRuntime() || !p.isRegistrys()) {
		return
	}
	original := p.name.String()
	image, err := p.runtime.status(ctx, original)
	if err != nil {
		p.warn(fmt.Errorf("look at %s after its pull: %w", original, err))
	}
	if image == nil {
		return
	}
	p.ledger.recording.Lock()
	defer p.ledger.recording.Unlock()
	var noted change
	for _, reference := range append([]string{original}, imagename.Digests(image, imagename.Repository(original))...) {
		if known, ok := p.ledger.lookup(reference); ok && known.yieldsTo(image.Id) {
			noted.add(unnameMoved(known))
		}
		on := pair{Reference: reference, Image: image.Id}
		p.ledger.showWhilePulled(on)
		if p.isRegistrys() || p.ledger.placement(reference, image.Id) != (placement{}) {
			noted.Ask = append(noted.Ask, on)
		}
	}
	p.apply(noted)
}

// isRegistrys reports whether the name is one of a configured registry's own: pulls for
// other names may be stored under it.
func (p *pull) isRegistrys() bool {
	return slices.ContainsFunc(p.lookup.Candidates(p.name), func(candidate Candidate) bool {
		return candidate.Reference == p.name.String()
	})
}

// unnameMoved returns the change after which a name no longer means its image. The runtime
// still has the image under the stored reference.
func unnameMoved(known entry) change {
	moved := change{Unname: []string{known.Original}}
	if known.hidesStored() {
		moved.Leave = []pair{known.stored()}
	}
	return moved
}

// add appends another change.
func (c *change) add(other change) {
	c.Unname = append(c.Unname, other.Unname...)
	c.Name = append(c.Name, other.Name...)
	c.Leave = append(c.Leave, other.Leave...)
	c.Hide = append(c.Hide, other.Hide...)
	c.Ask = append(c.Ask, other.Ask...)
}
