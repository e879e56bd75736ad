package registry

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
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

// admit tells whether a registry may be asked for an original. A digest always
// may.
func (t tags) admit(original reference.Named) bool {
	tagged, ok := original.(reference.Tagged)
	if !ok {
		return true
	}
	matches := func(pattern string) bool {
		matched, err := path.Match(pattern, tagged.Tag())
		return err == nil && matched
	}
	return !slices.ContainsFunc(t.exclude, matches) &&
		(len(t.include) == 0 || slices.ContainsFunc(t.include, matches))
}
