package config

import (
	"path"
	"strings"
)

// source is one pattern of a registry's match: where the images come from that
// it is asked for.
type source struct {
	registry Registry
	pattern  string
	match    value // of the registry, for a warning
}

// warnOfCollisions warns where images of different origin have one name in a
// registry, so that one may be served for the other. Only what match lists is
// compared: a registry that is asked for everything, or for whatever a wildcard
// stands for, is meant to be.
func warnOfCollisions(sources []source) {
	for i, later := range sources {
		for _, earlier := range sources[:i] {
			if later.collides(earlier) {
				later.match.warn("%s and %s are both looked for under the same names in %s, so that an image of one may be served for the other: "+
					"a path with {domain} keeps them apart", quote(earlier.pattern), quote(later.pattern), later.registry.Address)
				break
			}
		}
	}
}

func (r Registry) sources(match value) []source {
	var sources []source
	for _, pattern := range r.Match {
		if !strings.HasPrefix(pattern, "!") {
			sources = append(sources, source{registry: r, pattern: pattern, match: match})
		}
	}
	return sources
}

func (s source) collides(other source) bool {
	if s.registry.Address != other.registry.Address || s.registry.Path != other.registry.Path || strings.Contains(s.registry.Path, "{domain}") {
		return false
	}
	host, repository, _ := strings.Cut(s.pattern, "/")
	otherHost, otherRepository, _ := strings.Cut(other.pattern, "/")
	if strings.Contains(s.registry.Path, "{path}") {
		return host != otherHost && overlap(elements(repository), elements(otherRepository))
	}
	// Only the last part counts, which a pattern need not have.
	name, otherName := path.Base(repository), path.Base(otherRepository)
	return s.pattern != other.pattern && (repository == "" || otherRepository == "" || overlap([]string{name}, []string{otherName}))
}

func elements(repository string) []string {
	if repository == "" {
		return nil
	}
	return strings.Split(repository, "/")
}

// overlap tells whether there is a path that begins as both say.
func overlap(a, b []string) bool {
	for i := range min(len(a), len(b)) {
		forth, _ := path.Match(a[i], b[i])
		back, _ := path.Match(b[i], a[i])
		if !forth && !back {
			return false
		}
	}
	return true
}
