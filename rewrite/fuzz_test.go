package rewrite

import (
	"testing"

	"github.com/distribution/reference"
)

// FuzzParse requires that a reference means itself, and keeps its digest.
func FuzzParse(f *testing.F) {
	for _, s := range spellings(f) {
		f.Add(s.asked)
	}
	f.Fuzz(func(t *testing.T, image string) {
		name, err := Parse(image)
		if err != nil {
			return
		}
		if again, err := Parse(name.String()); err != nil || again.String() != name.String() {
			t.Errorf("%q means %s, which means %v (%v)", image, name, again, err)
		}
		if asked, err := reference.ParseNormalizedNamed(image); err == nil {
			if digested, ok := asked.(reference.Digested); ok && name.(reference.Digested).Digest() != digested.Digest() {
				t.Errorf("%q: the digest became %s", image, name)
			}
		}
		if repository(name.String()) != name.Name() || domain(name.String()) != reference.Domain(name) {
			t.Errorf("%s: repository %s, domain %s", name, repository(name.String()), domain(name.String()))
		}
	})
}
