package registry

import "github.com/distribution/reference"

// Fallback decides whether an image that no configured registry could serve is pulled from
// its original registry, the one in its name.
type Fallback string

const (
	FallbackUnset    Fallback = ""         // no setting; MayFallBack uses that of another registry or of Options
	FallbackOriginal Fallback = "original" // pull from the original registry
	FallbackNever    Fallback = "never"    // never contact the original registry
)

// MayFallBack reports whether an image may be pulled from its original registry. Among the
// registries that match the image, ignoring tags, and set fallback, the one with the highest
// priority decides. Without such a registry, Options.Fallback decides. name is nil for an
// image that is never looked up, such as one named by its ID.
func (s *Set) MayFallBack(name reference.Named) bool {
	fallback := s.fallback
	if name != nil {
		repository := reference.TrimNamed(name)
		for _, e := range s.ordered(repository) {
			if e.rule(repository).isAsked && e.fallback != FallbackUnset {
				fallback = e.fallback
				break
			}
		}
	}
	return fallback != FallbackNever
}
