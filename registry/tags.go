package registry

import (
	"path"
	"strings"
)

// tags select the tags that a registry is asked for. What a tag means may change
// at the original and not in the registry; what a digest means never does.
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

// firstMatchingTag returns the first pattern that matches a tag, and an empty text if
// none does.
func firstMatchingTag(patterns []string, tag string) string {
	for _, pattern := range patterns {
		if matched, err := path.Match(pattern, tag); err == nil && matched {
			return pattern
		}
	}
	return ""
}
