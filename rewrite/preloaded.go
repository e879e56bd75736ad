package rewrite

import (
	"slices"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
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
		host := domain(canonical(name))
		return host != domain(candidate.Reference) && host != domain(original)
	})
}

// isPreloaded reports whether the image under a candidate's reference counts as the
// original's, by the names that clients see on it.
func (c call) isPreloaded(original string, candidate Candidate, image *runtime.Image) bool {
	return image != nil && preloaded(original, candidate, c.ledger.visible(image))
}
