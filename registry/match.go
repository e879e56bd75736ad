package registry

import (
	"fmt"
	"strings"

	"image-cri-shim/hosts"
)

// patterns select the images that a registry is asked for.
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

// firstMatch returns the text of the first pattern that matches a repository, and an
// empty text if none does.
func firstMatch(patterns []hosts.Pattern, repository hosts.Repository) string {
	for _, p := range patterns {
		if p.Matches(repository) {
			return p.String()
		}
	}
	return ""
}
