package registry

import (
	"fmt"
	"path"
	"strings"
)

// patterns select the originals that a registry stands in for.
type patterns struct {
	include, exclude []pattern
}

// pattern holds one path.Match pattern for each leading element of a repository.
type pattern []string

func parsePatterns(texts []string) (patterns, error) {
	var p patterns
	for _, text := range texts {
		body, excludes := strings.CutPrefix(text, "!")
		elements := strings.Split(body, "/")
		for _, element := range elements {
			if _, err := path.Match(element, ""); err != nil || element == "" {
				return patterns{}, fmt.Errorf("bad pattern %q in match: expected elements like docker.io/library or *.gcr.io", text)
			}
		}
		if excludes {
			p.exclude = append(p.exclude, elements)
		} else {
			p.include = append(p.include, elements)
		}
	}
	return p, nil
}

// matching returns the first of some patterns that a repository, with its domain,
// begins with; nil if none.
func matching(patterns []pattern, repository string) pattern {
	elements := strings.Split(repository, "/")
	for _, p := range patterns {
		if p.matches(elements) {
			return p
		}
	}
	return nil
}

func (p pattern) matches(elements []string) bool {
	if len(p) > len(elements) {
		return false
	}
	for i, want := range p {
		if matched, err := path.Match(want, elements[i]); err != nil || !matched {
			return false
		}
	}
	return true
}

func (p pattern) String() string { return strings.Join(p, "/") }
