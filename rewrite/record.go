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

// The functions in this file record a pull in the ledger. While a pull is in progress, clients
// and other pulls do not see the images that it stores.

// beginPull records that the pull of a registry's reference begins. It returns the digests of
// the reference's repository that clients see now. If it returns no error, the caller must
// call EndPull of the ledger.
func (p *pull) beginPull(ctx context.Context, answer Answer) (visible []string, err error) {
	image, err := p.runtime.ImageStatus(ctx, answer.Reference)
	if err != nil {
		return nil, err
	}
	in := imagename.Repository(answer.Reference)
	visible = p.ledger.VisibleDigests(image, in)
	if answer.Digest != "" {
		// If the runtime fails to answer, assume that the pull adds the digest.
		if found, err := p.runtime.ImageStatus(ctx, in+"@"+answer.Digest); err == nil && found != nil {
			visible = append(visible, p.ledger.VisibleDigests(found, in)...)
		}
	}
	p.ledger.BeginPull(answer.Reference, image)
	return visible, nil
}

// recordTimeout limits the calls to the runtime that are needed to record a pull.
const recordTimeout = 5 * time.Second

// recordPull records that the requested name means the image that was pulled under a candidate's
// reference.
func (p *pull) recordPull(ctx context.Context, candidate Candidate, visible []string, response []byte) {
	original, stored := p.name.String(), candidate.Reference
	image, err := p.pulledImage(ctx, stored, response)
	if err != nil {
		p.warn(fmt.Errorf("could not find the image of %s after its pull as %s: %w", original, stored, err))
	}
	if image == nil {
		return // removed meanwhile
	}
	// The name no longer means the image that the runtime itself has under it.
	old, err := p.runtime.ImageStatus(ctx, original)
	if err != nil {
		p.warn(fmt.Errorf("could not look for an older image of %s: %w", original, err))
	}
	if err != nil {
		old = nil
	}
	if err := p.ledger.RecordPull(ledger.Origin{Original: original, Stored: stored, Registry: candidate.Registry}, image, old, visible); err != nil {
		p.warn(err)
	}
}

// pulledImage returns the image that was pulled. It uses the ID or reference in the answer to
// PullImage if there is one, because the stored reference may have moved already. If the
// runtime fails to answer, it returns an image with only the ID, if the answer has an ID.
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

// recordFailedPull records the image that the runtime has under the stored reference after a
// failed pull. The pull may have stored it, for example if the client has cancelled the call.
func (p *pull) recordFailedPull(ctx context.Context, stored string, visible []string) {
	image, err := p.runtime.ImageStatus(ctx, stored)
	switch {
	case err != nil && !cri.EndsCall(err): // otherwise the error of the pull has the same cause
		p.warn(fmt.Errorf("could not look for %s after its pull failed: %w", stored, err))
	case image != nil:
		if err := p.ledger.RecordFailedPull(stored, image, visible); err != nil {
			p.warn(err)
		}
	}
}

// recordOwnPull records that the runtime has the image under the requested name itself. The
// ledger's entry for the name stays if it has the same image, because containers of the image
// may show the registry's reference. It also stays if the runtime fails to answer.
func (p *pull) recordOwnPull(ctx context.Context) {
	if !p.ledger.MayRestore() && (p.namer.InRuntime() || !p.isRegistryName()) {
		return
	}
	original := p.name.String()
	image, err := p.runtime.ImageStatus(ctx, original)
	if err != nil {
		p.warn(fmt.Errorf("could not find the image of %s after its pull: %w", original, err))
	}
	if image == nil {
		return
	}
	if err := p.ledger.RecordOwnPull(original, image, p.isRegistryName()); err != nil {
		p.warn(err)
	}
}

// isRegistryName reports whether the requested name is a name in a configured registry. Pulls for
// other names may then be stored under it.
func (p *pull) isRegistryName() bool {
	return slices.ContainsFunc(p.lookup.Candidates(p.name), func(candidate Candidate) bool {
		return candidate.Reference == p.name.String()
	})
}
