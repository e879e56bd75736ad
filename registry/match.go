package registry

import (
	"fmt"
	"path"
	"strings"

	"image-cri-shim/hosts"
)

// patterns selects the images that a registry is asked for.
type patterns struct {
	include, exclude []hosts.Pattern
}

func parsePatterns(texts []string, plain hosts.PlainHTTP) (patterns, error) {
	var p patterns
	for _, text := range texts {
		body, excludes := strings.CutPrefix(text, "!")
		parsed, err := plain.ParsePattern(body)
		switch {
		case err != nil:
			return patterns{}, fmt.Errorf("bad pattern %q in match: %w", text, err)
		case excludes:
			p.exclude = append(p.exclude, parsed)
		default:
			p.include = append(p.include, parsed)
		}
	}
	return p, nil
}

// firstMatch returns the text of the first pattern that matches a repository, or an empty
// string if none does.
func firstMatch(patterns []hosts.Pattern, repository hosts.Repository) string {
	for _, p := range patterns {
		if p.Matches(repository) {
			return p.String()
		}
	}
	return ""
}

// tags selects the tags that a registry is asked for. A tag may move in the original
// registry and not in this one. A digest always means the same image, so that tags do not
// apply to it.
type tags struct {
	include, exclude []string // path.Match patterns
}

func parseTags(texts []string) tags {
	var t tags
	for _, text := range texts {
		if pattern, excludes := strings.CutPrefix(text, "!"); excludes {
			t.exclude = append(t.exclude, pattern)
		} else {
			t.include = append(t.include, pattern)
		}
	}
	return t
}

// firstMatchingTag returns the first pattern that matches a tag, or an empty string if
// none does.
func firstMatchingTag(patterns []string, tag string) string {
	for _, pattern := range patterns {
		if matched, err := path.Match(pattern, tag); err == nil && matched {
			return pattern
		}
	}
	return ""
}
