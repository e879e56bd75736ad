package rewrite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
)

// Records of a pull in the ledger. While a pull is in progress, the images that it brings
// are hidden from clients and from other pulls.

// beginPull records that the pull of a registry's reference begins. It returns the digests
// of the reference's repository that clients see now. If it returns no error, the caller
// must call EndPull.
func (p *pull) beginPull(ctx context.Context, answer Answer) (visible []string, err error) {
	image, err := p.runtime.ImageStatus(ctx, answer.Reference)
	if err != nil {
		return nil, err
	}
	in := imagename.Repository(answer.Reference)
	visible = p.ledger.VisibleDigests(image, in)
	if answer.Digest != "" {
		// If the runtime gives no answer, the digest counts as one that the pull brings.
		if found, err := p.runtime.ImageStatus(ctx, in+"@"+answer.Digest); err == nil && found != nil {
			visible = append(visible, p.ledger.VisibleDigests(found, in)...)
		}
	}
	p.ledger.BeginPull(answer.Reference, image)
	return visible, nil
}

// recordTimeout bounds the questions to the runtime whose answers are recorded after a pull.
const recordTimeout = 5 * time.Second

// recordPull records that the asked name means the image that was pulled as a candidate's
// reference.
func (p *pull) recordPull(ctx context.Context, candidate Candidate, visible []string, response []byte) {
	original, stored := p.name.String(), candidate.Reference
	image, err := p.pulledImage(ctx, stored, response)
	if err != nil {
		p.warn(fmt.Errorf("look at %s after it was pulled as %s: %w", original, stored, err))
	}
	if image == nil {
		return // removed meanwhile
	}
	// The image that the runtime itself has under the name has lost it.
	old, err := p.runtime.ImageStatus(ctx, original)
	if err != nil {
		p.warn(fmt.Errorf("look for an older image of %s: %w", original, err))
	}
	if err != nil {
		old = nil
	}
	if err := p.ledger.RecordPull(ledger.Origin{Original: original, Stored: stored, Registry: candidate.Registry}, image, old, visible); err != nil {
		p.warn(err)
	}
}

// pulledImage returns the image that a pull has brought: the one that the
// runtime's answer names, as the reference may have moved on already. Where the
// runtime can't be asked any more the answer's ID has to do.
func (p *pull) pulledImage(ctx context.Context, stored string, response []byte) (*runtime.Image, error) {
	pulled := &runtime.PullImageResponse{}
	if proto.Unmarshal(response, pulled) != nil || pulled.ImageRef == "" {
		return p.runtime.ImageStatus(ctx, stored)
	}
	image, err := p.runtime.ImageStatus(ctx, pulled.ImageRef)
	if _, parseErr := imagename.Parse(pulled.ImageRef); err != nil && errors.Is(parseErr, imagename.ErrImageID) {
		return &runtime.Image{Id: pulled.ImageRef}, err
	}
	return image, err
}

// recordFailedPull records the image that a failed pull has left under the stored reference.
// The pull may also have succeeded after its client had cancelled it.
func (p *pull) recordFailedPull(ctx context.Context, stored string, visible []string) {
	image, err := p.runtime.ImageStatus(ctx, stored)
	switch {
	case err != nil && !cri.EndsCall(err): // the runtime is there, and the pull's error does not have this one
		p.warn(fmt.Errorf("look for %s after its pull failed: %w", stored, err))
	case image != nil:
		if err := p.ledger.RecordFailedPull(stored, image, visible); err != nil {
			p.warn(err)
		}
	}
}

// recordOwnPull records that the runtime has the image under the name itself. The ledger's
// entry for the name stays if it has the same image, whose containers may show the
// registry's reference, or if the runtime fails to say which image it is.
func (p *pull) recordOwnPull(ctx context.Context) {
	if !p.ledger.MayRestore() && (p.namer.InRuntime() || !p.isRegistryName()) {
		return
	}
	original := p.name.String()
	image, err := p.runtime.ImageStatus(ctx, original)
	if err != nil {
		p.warn(fmt.Errorf("look at %s after its pull: %w", original, err))
	}
	if image == nil {
		return
	}
	if err := p.ledger.RecordOwnPull(original, image, p.isRegistryName()); err != nil {
		p.warn(err)
	}
}

// isRegistryName reports whether the name is one of a configured registry's own: pulls for
// other names may be stored under it.
func (p *pull) isRegistryName() bool {
	return slices.ContainsFunc(p.lookup.Candidates(p.name), func(candidate Candidate) bool {
		return candidate.Reference == p.name.String()
	})
}
