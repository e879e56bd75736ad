package explain

import (
	"context"
	"slices"

	"image-cri-shim/registry"
)

// failureLimit is the number of failed lookups after which a sample no longer asks a registry.
const failureLimit = 4

// SampleImages is like [Explainer.LookUpImages], but looks up no more images than it takes to
// judge each registry: until the registry has one of them, or has failed failureLimit times
// without having one. found lacks the images that were not looked up for this reason. Images
// are looked up in rounds, which grow, so that it takes a few times as long as one lookup. The
// first ones are far apart in the list of the runtime: images with similar names may be in one
// project that a registry refuses, while it has the others.
func (e *Explainer) SampleImages(ctx context.Context, limit int) (found []Lookups, total int, err error) {
	images, total, err := e.listImages(ctx, limit)
	images = spread(images)
	s := sample{found: map[string]int{}, failed: map[string]int{}}
	for size := 1; len(images) > 0; size *= 3 {
		var round []Lookups
		for len(images) > 0 && len(round) < size {
			if s.needs(e.Registries.Candidates(images[0].name)) {
				round = append(round, images[0])
			}
			images = images[1:]
		}
		e.lookUp(ctx, round)
		s.count(round)
		found = append(found, round...)
	}
	return found, total, err
}

// spread returns images in an order in which successive ones are far apart.
func spread(images []Lookups) []Lookups {
	step := max(1, len(images)*618/1000) // the golden ratio
	for gcd(step, len(images)) > 1 {
		step++
	}
	spread := make([]Lookups, len(images))
	for i := range spread {
		spread[i] = images[i*step%len(images)]
	}
	return spread
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// sample counts the answers of each registry.
type sample struct{ found, failed map[string]int }

// needs reports whether an image has a candidate in a registry that can't be judged yet, or has
// no candidate.
func (s sample) needs(candidates []registry.Candidate) bool {
	return len(candidates) == 0 || slices.ContainsFunc(candidates, func(c registry.Candidate) bool {
		return s.found[c.Registry] == 0 && s.failed[c.Registry] < failureLimit
	})
}

func (s sample) count(images []Lookups) {
	for _, image := range images {
		for _, answer := range image.Answers {
			switch answer.State {
			case registry.Found:
				s.found[answer.Registry]++
			case registry.Unknown:
				s.failed[answer.Registry]++
			}
		}
	}
}
