package registry

import (
	"fmt"
	"path"
	"strings"
)

// tags select the tags that a registry is asked for. What a tag means may change
// at the original and not in the registry; what a digest means never does.
type tags struct {
	include, exclude []string // path.Match patterns
}

func parseTags(texts []string) (tags, error) {
	var t tags
	for _, text := range texts {
		pattern, excludes := strings.CutPrefix(text, "!")
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return tags{}, fmt.Errorf("bad pattern %q in tags: expected a tag or a pattern of tags such as 1.*", text)
		}
		if excludes {
			t.exclude = append(t.exclude, pattern)
		} else {
			t.include = append(t.include, pattern)
		}
	}
	return t, nil
}

// matchingTag returns the first of some patterns that fits a tag; empty if none.
func matchingTag(patterns []string, tag string) string {
	for _, pattern := range patterns {
		if matched, err := path.Match(pattern, tag); err == nil && matched {
			return pattern
		}
	}
	return ""
}
