package config

import (
	"slices"
	"strconv"
	"strings"

	"image-cri-shim/hosts"
)

// HasAddress reports whether an address, in any spelling of its host, is the registry's.
func (r Registry) HasAddress(address string) bool {
	return canonicalAddress(r.Address) == canonicalAddress(address)
}

// canonicalAddress returns an address with its host in canonical form, for comparisons.
func canonicalAddress(address string) string {
	scheme, place, _ := strings.Cut(address, "://")
	host, prefix, _ := strings.Cut(place, "/")
	return scheme + "://" + hosts.Canonical(host, scheme) + "/" + prefix
}

// OwnHostOnly reports whether the registry is asked only for images of its own host. This is
// the case for a public registry without inclusions in match: there, another user may own a
// repository with the same path as an image of another host.
func (r Registry) OwnHostOnly() bool {
	scheme, place, _ := strings.Cut(r.Address, "://")
	host, _, _ := strings.Cut(place, "/")
	return hosts.IsPublic(hosts.Canonical(host, scheme)) && !slices.ContainsFunc(r.Match, isInclusion)
}

func isInclusion(pattern string) bool { return !strings.HasPrefix(pattern, "!") }

// describeImages describes the images that the registry is asked for.
func (r Registry) describeImages() string {
	match := strings.Join(r.Match, ", ")
	switch {
	case r.OwnHostOnly() && match == "":
		return `of its own host only, since it is public (with "*" in match: all)`
	case r.OwnHostOnly():
		return `of its own host only, since it is public (with "*" in match: all), ` + match
	case match == "":
		return "all"
	}
	return match
}

// warnOfExclusions warns of exclusions that exclude the whole registry, or everything that
// another pattern includes. match is the value of the key match.
func (r Registry) warnOfExclusions(match value) {
	plain := hosts.PlainHTTP{}
	plain.Add(r.Address)
	_, place, _ := strings.Cut(r.Address, "://")
	for _, excluding := range r.Match {
		body, found := strings.CutPrefix(excluding, "!")
		if !found {
			continue
		}
		exclusion, err := plain.ParsePattern(body)
		if err != nil {
			continue // reported as an error of match
		}
		// An exclusion that matches this path, which no repository has, matches every
		// repository.
		const anything = "/_/_"
		if exclusion.Matches(plain.Repository(place + anything)) {
			match.warn("%s excludes all of this registry, so it is never asked; remove the exclusion or the registry", strconv.Quote(excluding))
		}
		for _, pattern := range r.Match {
			if isInclusion(pattern) && hosts.IsLiteral(pattern) && exclusion.Matches(plain.Repository(pattern+anything)) {
				match.warn("%s matches nothing: %s excludes it; remove one of the two", strconv.Quote(pattern), strconv.Quote(excluding))
			}
		}
	}
}
