package registry

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"image-cri-shim/hosts"
)

// Candidate is a name under which a registry may have an image.
type Candidate struct {
	Registry  string // address of the registry, as shown to users
	Reference string // reference to pull; canonical, with a tag or a digest
	// MayBePreloaded reports whether an image that is on the node only under Reference
	// counts as the original. This is true if the original is on docker.io or a pattern in
	// match names the original.
	MayBePreloaded bool
}

// Candidates returns the names under which the registries may have an image, highest
// priority first. Among equal priorities, a registry on the host of the name comes first;
// the others follow in the order of the configuration. Candidates does no I/O and is safe
// for concurrent use.
func (s *Set) Candidates(name reference.Named) []Candidate {
	queries := s.queries(name)
	candidates := make([]Candidate, len(queries))
	for i, q := range queries {
		candidates[i] = q.candidate()
	}
	return candidates
}

// query is the lookup of a candidate in one registry.
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
		if !rule.isAsked {
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
			queries[known].endpoint = e // of registries on one host, use the credentials of the longest prefix
		}
	}
	return queries
}

// ordered returns the registries in the order of preference for an original.
func (s *Set) ordered(original reference.Named) []*endpoint {
	endpoints := slices.Clone(s.endpoints)
	slices.SortStableFunc(endpoints, func(a, b *endpoint) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), b.proximity(original)-a.proximity(original))
	})
	return endpoints
}

// proximity returns 0 if the original is on another host than the registry; hosts are
// compared in canonical form. Otherwise it returns 1, plus the length of the registry's
// prefix if the original's path begins with that prefix.
func (e *endpoint) proximity(original reference.Named) int {
	if hosts.Canonical(reference.Domain(original), e.location.scheme) != e.location.canonical() {
		return 0
	}
	if strings.HasPrefix(reference.Path(original), e.location.prefix+"/") {
		return 1 + len(e.location.prefix)
	}
	return 1
}

// candidate returns the registry's name for an original with a tag or a digest, and the
// rule that applies. The name is valid only if rule.isAsked is set.
func (e *endpoint) candidate(original reference.Named) (reference.Named, rule) {
	decided := e.rule(original)
	if !decided.isAsked || e.proximity(original) > 0 {
		return original, decided
	}
	if renamed, err := e.repository(original); err == nil {
		if candidate, ok := withIdentifier(renamed, original); ok {
			return candidate, decided
		}
	}
	return original, rule{text: "path yields no valid reference:", pattern: string(e.template), key: "path"}
}

// repository returns the repository of an original in this registry, without tag and
// digest. An original on the registry's own host keeps its repository.
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
