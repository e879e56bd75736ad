package imagename

import (
	"testing"

	"github.com/distribution/reference"

	"image-cri-shim/rewrite/rewritetest"
)

// FuzzParse requires that a reference means itself, and keeps its digest.
func FuzzParse(f *testing.F) {
	for _, s := range rewritetest.Spellings(f, "../../testdata/references.txt") {
		f.Add(s.Asked)
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
		if Repository(name.String()) != name.Name() || Host(name.String()) != reference.Domain(name) {
			t.Errorf("%s: repository %s, domain %s", name, Repository(name.String()), Host(name.String()))
		}
	})
}
