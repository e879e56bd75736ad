package registry

import "github.com/distribution/reference"

// Fallback is whether an image that no registry could serve is pulled from the
// registry in its name, the original one.
type Fallback string

const (
	FallbackUnset    Fallback = ""         // as [Options] say, and there [FallbackOriginal]
	FallbackOriginal Fallback = "original" // it is
	FallbackNever    Fallback = "never"    // the original registry is not contacted at all
)

// MayFallBack reports whether an image may be pulled from its original registry. Of the
// registries that stand in for it, whatever its tag, the best with a fallback of its own
// decides, otherwise the options do. A nil name is an image that no registry can stand in
// for, such as one named by its ID.
func (s *Set) MayFallBack(name reference.Named) bool {
	fallback := s.fallback
	if name != nil {
		repository := reference.TrimNamed(name)
		for _, e := range s.ordered(repository) {
			if e.rule(repository).standsIn && e.fallback != FallbackUnset {
				fallback = e.fallback
				break
			}
		}
	}
	return fallback != FallbackNever
}
