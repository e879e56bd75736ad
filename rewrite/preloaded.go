package rewrite

import (
	"context"
	"slices"

	"github.com/distribution/reference"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
)

// preloaded reports whether an image that the runtime has under a candidate's reference,
// although no pull of the original has put it there, counts as the original's: an
// installer such as sealos loads images under its registry's names. names are the names
// that clients see on the image.
//
// The candidate must be one that may be preloaded (see [Candidate]), and the image may
// have no names but those of the candidate's registry and those of the original's
// registry. An image that has a name of a third registry is that one's: "quay.io/team/app"
// is not "docker.io/team/app", although both have the path "team/app".
func preloaded(original string, candidate Candidate, names []string) bool {
	if !candidate.MayBePreloaded || candidate.Reference == original || !slices.Contains(names, candidate.Reference) {
		return false
	}
	return !slices.ContainsFunc(names, func(name string) bool {
		host := imagename.Host(imagename.Canonical(name))
		return host != imagename.Host(candidate.Reference) && host != imagename.Host(original)
	})
}

// isPreloaded reports whether the image under a candidate's reference counts as the
// original's, by the names that clients see on it.
func (c call) isPreloaded(original string, candidate Candidate, image *runtime.Image) bool {
	return image != nil && !c.namer.Hides(candidate.Reference) && preloaded(original, candidate, c.ledger.VisibleNames(image))
}

// resolveCandidates looks for an image that was preloaded under the reference that a
// registry would give the name.
func (c call) resolveCandidates(ctx context.Context, request *runtime.ImageStatusRequest, name reference.Named) (resolution, error) {
	original := name.String()
	var failed failedLookups
	for _, candidate := range c.lookup.Candidates(name) {
		if candidate.Reference == original || !candidate.MayBePreloaded {
			continue
		}
		found, err := c.resolveCandidate(ctx, request, candidate)
		if err != nil && cri.EndsCall(err) {
			return resolution{failed: failed}, err
		}
		if err != nil {
			failed.add(candidate.Reference, err)
			continue
		}
		if image := found.image(); c.isPreloaded(original, candidate, image) {
			if c.namesInRuntime() && !c.readOnly {
				named, err := c.namePreloaded(ctx, request, original, candidate, image)
				if err == nil {
					named.failed = failed
					return named, nil
				}
				c.warn(err)
			}
			found.registry, found.reason = candidate.Registry, "present under this registry's reference"
			found.failed = failed
			if !c.readOnly {
				c.learn(original, candidate, image)
			}
			return found, nil
		}
	}
	return resolution{failed: failed}, nil
}

// namePreloaded gives an image that is on the node under a registry's name the name that
// was asked for, and returns the answer to ImageStatus for it. The registry's name stays.
func (c call) namePreloaded(ctx context.Context, request *runtime.ImageStatusRequest, original string, candidate Candidate, image *runtime.Image) (resolution, error) {
	origin := ledger.Origin{Original: original, Stored: candidate.Reference, Registry: candidate.Registry}
	if err := c.namer.NamePreloaded(ctx, origin, image.GetId()); err != nil {
		return resolution{}, err
	}
	found, err := c.resolveAs(ctx, request, original)
	found.registry, found.reason = candidate.Registry, "present under this registry's reference"
	return found, err
}

// resolveCandidate asks the runtime for the image that clients find under a candidate's
// reference: not one that a pull has put there since.
func (c call) resolveCandidate(ctx context.Context, request *runtime.ImageStatusRequest, candidate Candidate) (resolution, error) {
	found, err := c.resolveAs(ctx, request, candidate.Reference)
	if image := found.image(); err != nil || image != nil && !c.ledger.IsHidden(candidate.Reference, image.Id) {
		return found, err
	}
	own, ok := c.ledger.Lookup(candidate.Reference)
	if !ok {
		return found, nil
	}
	return c.resolveAs(ctx, request, own.Image)
}

// learn records a name for an image that was preloaded under a registry's reference,
// which stays visible.
func (c call) learn(original string, candidate Candidate, image *runtime.Image) {
	if err := c.ledger.RecordPreloaded(ledger.Origin{Original: original, Stored: candidate.Reference, Registry: candidate.Registry}, image); err != nil {
		c.warn(err)
	}
}

// removePreloaded removes an image that ImageStatus finds under the reference that a
// registry would give the name.
func (r *removal) removePreloaded(ctx context.Context) error {
	for _, candidate := range r.lookup.Candidates(r.name) {
		if candidate.Reference == r.original() || !candidate.MayBePreloaded {
			continue
		}
		found, err := r.resolveCandidate(ctx, &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{}}, candidate)
		if err != nil && cri.EndsCall(err) {
			return err
		}
		if err != nil {
			r.failed.add(candidate.Reference, err)
			continue
		}
		image := found.image()
		switch {
		case !r.isPreloaded(r.original(), candidate, image):
		case imagename.Has(image, candidate.Reference):
			return r.remove(ctx, candidate.Reference, image.Id)
		default:
			return r.remove(ctx, image.Id, image.Id)
		}
	}
	return nil
}
