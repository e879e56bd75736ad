package registry

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"image-cri-shim/hosts"
)

// Candidate is the name under which a registry may have an image.
type Candidate struct {
	Registry  string // the registry's address, for people
	Reference string // what a runtime is asked for; canonical, with a tag or a digest
	// MayBePreloaded reports whether an image that a node has under Reference alone counts
	// as the original: the original is docker.io's, or a pattern in match names it.
	MayBePreloaded bool
}

// Candidates returns the names under which the registries may have an image.
// The highest priority comes first. Among equals it is the registry whose own
// host the name is on, then the order they were configured in. It does no I/O and
// may be called concurrently.
func (s *Set) Candidates(name reference.Named) []Candidate {
	queries := s.queries(name)
	candidates := make([]Candidate, len(queries))
	for i, q := range queries {
		candidates[i] = q.candidate()
	}
	return candidates
}

// query is the look-up of a candidate in one registry.
type query struct {
	endpoint       *endpoint
	reference      reference.Named
	mayBePreloaded bool // see [Candidate]
}

func (q query) candidate() Candidate {
	return Candidate{
		Registry:  q.endpoint.location.String(),
		Reference: q.reference.String(),

		MayBePreloaded: q.mayBePreloaded,
	}
}

func (s *Set) queries(name reference.Named) []query {
	original, err := reference.ParseDockerRef(name.String())
	if err != nil {
		return nil
	}
	var queries []query
	for _, e := range s.ordered(original) {
		candidate, rule := e.candidate(original)
		if !rule.standsIn {
			continue
		}
		known := slices.IndexFunc(queries, func(q query) bool {
			return e.plain.Reference(q.reference.String()) == e.plain.Reference(candidate.String())
		})
		mayBePreloaded := rule.isMatch || reference.Domain(original) == hosts.DockerHub
		if known >= 0 && mayBePreloaded {
			queries[known].mayBePreloaded = true
		}
		switch {
		case known < 0:
			queries = append(queries, query{endpoint: e, reference: candidate, mayBePreloaded: mayBePreloaded})
		case e.proximity(original) > queries[known].endpoint.proximity(original):
			queries[known].endpoint = e // on one host the credentials of the prefix are the right ones
		}
	}
	return queries
}

// ordered are the registries as they are preferred for an original.
func (s *Set) ordered(original reference.Named) []*endpoint {
	endpoints := slices.Clone(s.endpoints)
	slices.SortStableFunc(endpoints, func(a, b *endpoint) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), b.proximity(original)-a.proximity(original))
	})
	return endpoints
}

// proximity returns 0 for an original on another host than the registry, however the host
// is spelled. Otherwise it grows with the part of the address that the original begins
// with.
func (e *endpoint) proximity(original reference.Named) int {
	if hosts.Canonical(reference.Domain(original), e.location.scheme) != e.location.canonical() {
		return 0
	}
	if strings.HasPrefix(reference.Path(original), e.location.prefix+"/") {
		return 1 + len(e.location.prefix)
	}
	return 1
}

// candidate is the registry's name for an original with a tag or a digest. It
// is of use only where the rule stands in.
func (e *endpoint) candidate(original reference.Named) (reference.Named, rule) {
	decided := e.rule(original)
	if !decided.standsIn || e.proximity(original) > 0 {
		return original, decided
	}
	if renamed, err := e.repository(original); err == nil {
		if candidate, ok := withIdentifier(renamed, original); ok {
			return candidate, decided
		}
	}
	return original, rule{text: "its path makes no reference of it:", pattern: string(e.template)}
}

// repository returns the repository of an original in this registry, without tag
// and digest. On the registry's own host it is the original's.
func (e *endpoint) repository(original reference.Named) (reference.Named, error) {
	if e.proximity(original) > 0 {
		return reference.TrimNamed(original), nil
	}
	return parseRepository(e.location.host + "/" + path.Join(e.location.prefix, e.template.repository(original)))
}

// withIdentifier adds the digest or the tag of an original to a repository.
func withIdentifier(repository, original reference.Named) (reference.Named, bool) {
	switch original := original.(type) {
	case reference.Digested:
		digested, err := reference.WithDigest(repository, original.Digest())
		return digested, err == nil
	case reference.Tagged:
		tagged, err := reference.WithTag(repository, original.Tag())
		return tagged, err == nil
	default:
		return repository, false
	}
}
