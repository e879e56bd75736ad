package registry

import (
	"fmt"
	"path"
	"slices"
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

// excludes tells whether a repository, with its domain, must not be asked for.
func (p patterns) excludes(repository string) bool { return anyMatches(p.exclude, repository) }

// includes tells whether a repository that is not excluded may be asked for.
func (p patterns) includes(repository string) bool {
	return len(p.include) == 0 || anyMatches(p.include, repository)
}

func anyMatches(patterns []pattern, repository string) bool {
	elements := strings.Split(repository, "/")
	return slices.ContainsFunc(patterns, func(p pattern) bool { return p.matches(elements) })
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
