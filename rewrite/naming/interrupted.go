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

// postpone leaves it to [Namer.repair] to name the image of the pull.
func (p *Pull) postpone(succeeded bool) {
	p.gate.postpone(p.state, p.pull, succeeded)
	if err := p.saveState(p.repository, p.state); err != nil {
		p.warn(fmt.Errorf("could not note that %s lacks its name: %w", p.pull.Original, err))
	}
}

// addLeftovers notes the names of a removed image that the runtime still has: containerd
// stores the names of a pull one after the other, while RemoveImage deletes those that it
// has seen.
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

// addUnusable notes the name of an image that the runtime has stored and does not show.
// containerd 2 stores the name before the pull of an image for other platforms fails.
func (p *Pull) addUnusable(ctx context.Context) error {
	record, err := p.images.Get(ctx, p.pull.Reference)
	if err != nil || record == nil || p.gate.isKept(p.state, record) {
		return err
	}
	p.gate.addCreated(p.state, "", record.GetName())
	return nil
}

// cancelGrace is how long a runtime may go on with a pull after it was cancelled.
const cancelGrace = 3 * time.Second

// Fail ends a pull that has failed with err. The runtime may have stored the image
// nevertheless: after a pull that its client has cancelled at its very end.
func (p *Pull) Fail(ctx context.Context, err error) {
	grace := time.Duration(0)
	if cri.IsTimeout(err) {
		grace = cancelGrace
	}
	p.tasks.start(ctx, func(ctx context.Context) {
		defer p.end(ctx)
		if err := p.nameInterrupted(ctx, grace); err != nil {
			p.warn(fmt.Errorf("could not name what a failed pull of %s has left: %w", p.pull.Original, err))
			p.postpone(false)
		}
	})
}

// nameInterrupted names what a pull that was cut off has left. The runtime may go on with the
// pull for a while, so that the image is there in part until it has ended. containerd
// stores the digest of a tag last.
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

// addNamed notes the registry's digests whose images have the asked repository's digests:
// a shim may have been killed between two deletions.
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

// nameStored names the image under the pull's reference if a pull for another name has
// put it there, and returns it; nil if there is none.
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

// hasMoved reports whether the asked name has got another image since the pull began: from
// another pull, or from another client. A name that is gone has not moved: the image that it
// had before was removed.
func (p *Pull) hasMoved(ctx context.Context, pulled *containerd.Record) (bool, error) {
	if strings.Contains(p.pull.Original, "@") {
		return false, nil
	}
	current, err := p.images.Get(ctx, p.pull.Original)
	return current != nil && current.GetTarget().GetDigest() != p.pull.Before && !sameTarget(current, pulled), err
}
