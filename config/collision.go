package config

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"image-cri-shim/hosts"
)

// source is one inclusion in a registry's match: it selects images that the registry is asked
// for.
type source struct {
	registry Registry
	plain    hosts.PlainHTTP // of all registries
	pattern  string          // as written
	elements []string        // of the pattern, canonical
	match    value           // of the registry, for a warning
}

// warnOfCollisions warns if a registry may serve one image for another. For example, with the
// match [docker.io, quay.io] and the path {path}, docker.io/team/app and quay.io/team/app are
// both team/app in the registry. Only patterns in match are compared. A registry
// that is asked for all images, or for all images that one wildcard matches, is configured so
// on purpose.
func warnOfCollisions(sources []source) {
	for i, later := range sources {
		for _, earlier := range sources[:i] {
			if later.collides(earlier) {
				later.match.warn("%s and %s have images of the same name in %s, so one may be served for the other; "+
					"a path with {domain} and {path} keeps them apart", strconv.Quote(earlier.pattern), strconv.Quote(later.pattern), later.registry.Address)
				break
			}
		}
	}
}

func (r Registry) sources(match value, plain hosts.PlainHTTP) []source {
	var sources []source
	for _, pattern := range r.Match {
		parsed, err := plain.ParsePattern(pattern)
		if err == nil && isInclusion(pattern) {
			sources = append(sources, source{registry: r, plain: plain, pattern: pattern, elements: parsed.Elements(), match: match})
		}
	}
	return sources
}

// hostAndRepository returns the pattern's host and repository.
func (s source) hostAndRepository() (host, repository string) {
	return s.elements[0], strings.Join(s.elements[1:], "/")
}

func (s source) collides(other source) bool {
	if slices.Equal(s.elements, other.elements) || s.excludesTarget() || other.excludesTarget() {
		return false
	}
	host, repository := s.hostAndRepository()
	otherHost, otherRepository := other.hostAndRepository()
	if s.has("{path}") && other.has("{path}") {
		kept := host == otherHost || s.registry.Path == other.registry.Path && s.has("{domain}")
		excluded := s.excludes(host, repository) || s.excludes(host, otherRepository) ||
			other.excludes(otherHost, repository) || other.excludes(otherHost, otherRepository)
		if kept || excluded {
			return false
		}
	}
	return s.registryNames().overlap(other.registryNames())
}

func (s source) has(placeholder string) bool { return strings.Contains(s.registry.Path, placeholder) }

// excludes reports whether match excludes the images of a host and repository.
func (s source) excludes(host, repository string) bool {
	image := strings.Split(host+"/"+repository, "/")
	return slices.ContainsFunc(s.exclusions(), func(excluded []string) bool {
		return len(excluded) <= len(image) && overlap(excluded, image)
	})
}

// excludesTarget reports whether match excludes the repositories in the registry to which the
// source's images map.
func (s source) excludesTarget() bool {
	target := s.registryNames().elements
	return slices.ContainsFunc(s.exclusions(), func(excluded []string) bool {
		return len(excluded) <= len(target) && covers(excluded, target)
	})
}

// exclusions returns the canonical elements of the registry's exclusions.
func (s source) exclusions() [][]string {
	var exclusions [][]string
	for _, pattern := range s.registry.Match {
		if parsed, err := s.plain.ParsePattern(strings.TrimPrefix(pattern, "!")); err == nil && !isInclusion(pattern) {
			exclusions = append(exclusions, parsed.Elements())
		}
	}
	return exclusions
}

// covers reports whether pattern matches everything that the first elements of another pattern
// match.
func covers(pattern, elements []string) bool {
	for i, element := range pattern {
		if matched, err := path.Match(element, elements[i]); element != elements[i] && (err != nil || !matched) {
			return false
		}
	}
	return true
}

// registryNames describes the names of a source's images in the registry. The elements are
// patterns.
type registryNames struct {
	elements []string
	fixed    int    // number of leading elements that are the same for all images
	open     bool   // any number of elements may follow
	rest     string // of the template, after {path}
}

func (s source) registryNames() registryNames {
	host, repository := s.hostAndRepository()
	_, place, _ := strings.Cut(canonicalAddress(s.registry.Address), "://")
	template := strings.TrimSuffix(place, "/") + "/" + strings.ReplaceAll(s.registry.Path, "{domain}", host)
	if before, rest, ok := strings.Cut(template, "{path}"); ok {
		if repository == "" {
			repository = "*"
		}
		whole := strings.TrimSuffix(before+repository, "/*") // any number of elements
		return registryNames{elements: strings.Split(whole, "/"), fixed: strings.Count(before, "/"), open: true, rest: rest}
	}
	name := "*"
	if strings.Contains(repository, "/") {
		name = path.Base(repository)
	} // otherwise the pattern is a host, or a host and one element, and the names follow it
	before, _, _ := strings.Cut(template, "{name}")
	return registryNames{elements: strings.Split(strings.ReplaceAll(template, "{name}", name), "/"), fixed: strings.Count(before, "/")}
}

// overlap reports whether both can describe the same name. It ignores names in which an element
// that one template fixes is part of a path in the other.
func (n registryNames) overlap(other registryNames) bool {
	short, long := n, other
	if len(short.elements) > len(long.elements) {
		short, long = long, short
	}
	return len(short.elements) >= max(n.fixed, other.fixed) &&
		(short.open || len(short.elements) == len(long.elements)) &&
		(n.open != other.open || n.rest == other.rest) &&
		overlap(short.elements, long.elements)
}

// overlap reports whether both lists can match the beginning of one name. Of two elements with
// wildcards, only the parts before the first wildcard are compared.
func overlap(a, b []string) bool {
	for i := range min(len(a), len(b)) {
		forth, _ := path.Match(a[i], b[i])
		back, _ := path.Match(b[i], a[i])
		begin, other := beforeWildcard(a[i]), beforeWildcard(b[i])
		both := begin != a[i] && other != b[i] && (strings.HasPrefix(begin, other) || strings.HasPrefix(other, begin))
		if a[i] != b[i] && !forth && !back && !both {
			return false
		}
	}
	return true
}

func beforeWildcard(pattern string) string {
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		return pattern[:i]
	}
	return pattern
}

// warnOfNames warns if a path without {path} maps several repositories to one name. v is the
// value of the key path.
func (r Registry) warnOfNames(v value) {
	if strings.Contains(r.Path, "{path}") {
		return
	}
	sources := r.sources(value{}, hosts.PlainHTTP{})
	if len(sources) == 0 || slices.ContainsFunc(sources, source.isAmbiguous) {
		v.warn("{name} is only the last part of an image's name, so docker.io/a/app may be served for docker.io/b/app; {path} keeps them apart")
	}
}

// isAmbiguous reports whether several repositories map to one name: the pattern leaves the
// host or the first part of the repository open.
func (s source) isAmbiguous() bool {
	host, repository := s.hostAndRepository()
	first, _, _ := strings.Cut(repository, "/")
	return first == "" || beforeWildcard(first) != first || beforeWildcard(host) != host && !s.has("{domain}")
}
