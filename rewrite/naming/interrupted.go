package naming

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"image-cri-shim/rewrite/containerd"
	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/imagename"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// postpone records that [Namer.repair] must name the image of the pull.
func (p *Pull) postpone(succeeded bool) {
	p.gate.postpone(p.state, p.pull, succeeded)
	if err := p.saveState(p.repository, p.state); err != nil {
		p.warn(fmt.Errorf("could not record in the journal that %s lacks its name (see image-cri-shim doctor): %w", p.pull.Original, err))
	}
}

// addLeftovers records the names of a removed image that the runtime still has. containerd
// stores the names of a pull one after the other, and RemoveImage deletes only those that it
// finds.
func (p *Pull) addLeftovers(ctx context.Context, image string) error {
	records, err := p.images.List(ctx, repositoryFilter(p.repository))
	if err != nil {
		return err
	}
	for _, record := range records {
		if p.gate.isKept(p.state, record) {
			continue
		}
		shown, err := p.runtime.ImageStatus(ctx, record.GetName())
		if err != nil {
			return err
		}
		if shown == nil || shown.Id == image {
			p.gate.addCreated(p.state, shown.GetId(), record.GetName())
		}
	}
	return nil
}

// addUnusable records the registry's name of an image that the CRI does not show. containerd
// 2 stores the name before it finds that the image is for other platforms and fails the pull.
func (p *Pull) addUnusable(ctx context.Context) error {
	record, err := p.images.Get(ctx, p.pull.Reference)
	if err != nil || record == nil || p.gate.isKept(p.state, record) {
		return err
	}
	p.gate.addCreated(p.state, "", record.GetName())
	return nil
}

// cancelGrace is how long a runtime may continue a pull that was cancelled.
const cancelGrace = 3 * time.Second

// Fail ends a pull that has failed with err. The runtime may still have stored the image, if
// the client has cancelled the pull just before its end. Fail therefore looks for the image
// in the background and names it.
func (p *Pull) Fail(ctx context.Context, err error) {
	grace := time.Duration(0)
	if cri.IsTimeout(err) {
		grace = cancelGrace
	}
	p.tasks.start(ctx, func(ctx context.Context) {
		defer p.end(ctx)
		if err := p.nameInterrupted(ctx, grace); err != nil {
			p.warn(fmt.Errorf("could not name the image that a failed pull of %s may have stored: %w", p.pull.Original, err))
			p.postpone(false)
		}
	})
}

// nameInterrupted names the image that an interrupted pull has stored, if any. The runtime
// may continue the pull meanwhile, and containerd stores the digest of an image after its tag.
// nameInterrupted therefore checks repeatedly until the image has a digest, for at most the
// duration grace.
func (p *Pull) nameInterrupted(ctx context.Context, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	for begun := time.Now(); ; {
		image, err := p.nameStored(ctx)
		removed := errors.Is(err, errRemoved)
		if err != nil && !removed {
			return err
		}
		if image != nil && !removed && len(imagename.Digests(image, p.repository)) > 0 && !strings.Contains(p.pull.Original, "@") {
			return nil
		}
		if time.Since(begun) >= grace {
			switch {
			case removed:
				return p.addLeftovers(ctx, image.GetId())
			case image == nil:
				return p.addUnusable(ctx)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(cancelGrace / 30):
		}
	}
}

// addNamed records a digest reference of the registry if the asked repository already has the
// same digest. An earlier shim may have been killed before it deleted the registry's digest.
func (p *Pull) addNamed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	records, err := p.images.List(ctx, repositoryFilter(p.repository))
	if err != nil {
		return err
	}
	for _, record := range records {
		_, digest, digested := strings.Cut(record.GetName(), "@")
		if !digested || p.gate.isKept(p.state, record) {
			continue
		}
		named, err := p.images.Get(ctx, imagename.Repository(p.pull.Original)+"@"+digest)
		if err != nil {
			return err
		}
		if named == nil {
			continue
		}
		image, err := p.runtime.ImageStatus(ctx, named.GetName())
		if err != nil {
			return err
		}
		p.gate.addCreated(p.state, image.GetId(), record.GetName())
	}
	return nil
}

// nameStored gives the requested name to the image that the runtime has under the pull's
// reference, if a pull for another name has stored it. It returns the image, or nil if the
// runtime has no such image.
func (p *Pull) nameStored(ctx context.Context) (*runtime.Image, error) {
	record, err := p.images.Get(ctx, p.pull.Reference)
	if err != nil || record == nil || p.gate.isKept(p.state, record) && !p.gate.succeeded(p.state, p.pull) {
		return nil, err
	}
	image, err := p.runtime.ImageStatus(ctx, p.pull.Reference)
	if err != nil || image == nil {
		return nil, err
	}
	moved, err := p.hasMoved(ctx, record)
	if err != nil {
		return nil, err
	}
	if moved {
		names := slices.DeleteFunc(imagename.Digests(image, p.repository), func(name string) bool { return p.gate.isKeptName(p.state, name) })
		p.gate.addCreated(p.state, image.Id, append(names, p.pull.Reference)...)
		return image, nil
	}
	return image, p.nameAdded(ctx, image.Id)
}

// hasMoved reports whether another pull or another client has moved the requested name to
// another image since the pull began. A missing name has not moved, because the image that
// it meant before was removed.
func (p *Pull) hasMoved(ctx context.Context, pulled *containerd.Record) (bool, error) {
	if strings.Contains(p.pull.Original, "@") {
		return false, nil
	}
	current, err := p.images.Get(ctx, p.pull.Original)
	return current != nil && current.GetTarget().GetDigest() != p.pull.Before && !sameTarget(current, pulled), err
}
