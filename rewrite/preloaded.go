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

// preloaded reports whether an image counts as the image of original, although the shim has
// not pulled it. For example, an installer such as sealos loads hub:5000/library/nginx:1.25,
// and a client asks for nginx:1.25. names are the names that clients see on the image.
//
// The image must have the candidate's reference, and the candidate must allow preloaded images
// (see [Candidate]). All names of the image must be in the candidate's or the original's
// registry. Otherwise an image with the names hub:5000/team/app and quay.io/team/app would
// count as docker.io/team/app, which is another image with the same path.
func preloaded(original string, candidate Candidate, names []string) bool {
	if !candidate.MayBePreloaded || candidate.Reference == original || !slices.Contains(names, candidate.Reference) {
		return false
	}
	return !slices.ContainsFunc(names, func(name string) bool {
		host := imagename.Host(imagename.Canonical(name))
		return host != imagename.Host(candidate.Reference) && host != imagename.Host(original)
	})
}

// isPreloaded reports whether the image under a candidate's reference counts as the image of
// original. See preloaded for the rules. It is false while a pull may have stored the image
// under that reference.
func (c call) isPreloaded(original string, candidate Candidate, image *runtime.Image) bool {
	return image != nil && !c.namer.Hides(candidate.Reference) && preloaded(original, candidate, c.ledger.VisibleNames(image))
}

// resolveCandidates looks for an image of name that was preloaded under the reference of a
// registry.
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

// namePreloaded gives a preloaded image the requested name in the runtime, and returns the answer
// to ImageStatus for it. The registry's name stays.
func (c call) namePreloaded(ctx context.Context, request *runtime.ImageStatusRequest, original string, candidate Candidate, image *runtime.Image) (resolution, error) {
	origin := ledger.Origin{Original: original, Stored: candidate.Reference, Registry: candidate.Registry}
	if err := c.namer.NamePreloaded(ctx, origin, image.GetId()); err != nil {
		return resolution{}, err
	}
	found, err := c.resolveAs(ctx, request, original)
	found.registry, found.reason = candidate.Registry, "present under this registry's reference"
	return found, err
}

// resolveCandidate finds the image that clients see under a candidate's reference. If a pull
// for another name has stored a newer image there, that is the image that the ledger has for
// the reference.
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

// learn records the name of a preloaded image in the ledger. The registry's reference stays
// visible.
func (c call) learn(original string, candidate Candidate, image *runtime.Image) {
	if err := c.ledger.RecordPreloaded(ledger.Origin{Original: original, Stored: candidate.Reference, Registry: candidate.Registry}, image); err != nil {
		c.warn(err)
	}
}

// removePreloaded removes an image that ImageStatus finds as a preloaded one.
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
