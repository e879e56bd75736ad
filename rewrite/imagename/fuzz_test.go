package imagename

import (
	"testing"

	"github.com/distribution/reference"

	"image-cri-shim/rewrite/rewritetest"
)

// FuzzParse checks that a canonical reference parses to itself, and that Parse keeps a
// digest.
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
			t.Errorf("Parse(%q) = %s, which parses to %v, %v", image, name, again, err)
		}
		if asked, err := reference.ParseNormalizedNamed(image); err == nil {
			if digested, ok := asked.(reference.Digested); ok && name.(reference.Digested).Digest() != digested.Digest() {
				t.Errorf("Parse(%q) = %s, which has another digest", image, name)
			}
		}
		if Repository(name.String()) != name.Name() || Host(name.String()) != reference.Domain(name) {
			t.Errorf("%s: Repository returned %s, Host returned %s", name, Repository(name.String()), Host(name.String()))
		}
	})
}
