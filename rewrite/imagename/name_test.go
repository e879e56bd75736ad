package imagename

import (
	"errors"
	"testing"

	"image-cri-shim/rewrite/rewritetest"

	"github.com/distribution/reference"
)

func TestRepositoryAndHost(t *testing.T) {
	for canonical, want := range map[string][2]string{
		"docker.io/library/nginx:1.25":         {"docker.io/library/nginx", "docker.io"},
		"sealos.hub:5000/library/nginx:1.25":   {"sealos.hub:5000/library/nginx", "sealos.hub:5000"},
		"sealos.hub:5000/nginx@sha256:0123456": {"sealos.hub:5000/nginx", "sealos.hub:5000"},
		"[::1]:5000/nginx:1":                   {"[::1]:5000/nginx", "[::1]:5000"},
	} {
		if got := [2]string{Repository(canonical), Host(canonical)}; got != want {
			t.Errorf("%s: %v, want %v", canonical, got, want)
		}
	}
}

// TestParse compares Parse with the table of spellings, and with the parser of containerd
// (ParseDockerRef) for strings that are not IDs.
func TestParse(t *testing.T) {
	for _, s := range rewritetest.Spellings(t, "../../testdata/references.txt") {
		name, err := Parse(s.Asked)
		theirs, theirErr := reference.ParseDockerRef(s.Asked)
		ok := false
		switch s.Meaning {
		case rewritetest.MeansID:
			ok = errors.Is(err, ErrImageID)
		case rewritetest.MeansNothing:
			// distribution/reference does not take a host with "_" for a host.
			ok = err != nil && !errors.Is(err, ErrImageID) && (theirErr != nil || reference.Domain(theirs) == "")
		default:
			ok = err == nil && theirErr == nil && name.String() == s.Meaning && theirs.String() == s.Meaning
		}
		if !ok {
			t.Errorf("line %s: Parse(%.80q) = %.80v, %.200v; containerd parses it to %.80v, %.200v; want %.80s", s.Line, s.Asked, name, err, theirs, theirErr, s.Meaning)
		}
	}
}
