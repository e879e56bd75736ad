package explain

import (
	"strings"
	"testing"

	"image-cri-shim/registry"
	"image-cri-shim/rewrite/naming"
)

// TestTextOfNames requires the place where names are kept, and the reason.
func TestTextOfNames(t *testing.T) {
	for mode, want := range map[naming.Mode]string{
		naming.InRuntime: "names kept by containerd runtime",
		naming.InLedger:  "names kept in the shim's ledger because",
		naming.Unknown:   "names unknown because",
	} {
		var text strings.Builder
		image := Image{Image: "nginx", Node: Node{Names: NamingOf(naming.Status{Mode: mode, Reason: "because"}, 0), Runtime: []Presence{{}}}}
		if err := WriteText(&text, []Image{image}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(text.String()), " "); !strings.Contains(got, want) {
			t.Errorf("%s: %q is missing in\n%s", mode, want, text.String())
		}
	}
}

// TestTextOfFailedNaming requires different texts for a name that the runtime lacks, for names
// that it failed to change, and for a node without problems.
func TestTextOfFailedNaming(t *testing.T) {
	const waits, repairs = "; the runtime does not have this name yet", "some names could not be changed, retrying; repositories affected: 2"
	for _, test := range []struct {
		mode    string
		repairs int
		ledger  *Ledger
		want    map[string]bool
	}{
		{"runtime", 0, nil, map[string]bool{waits: false, repairs: false}},
		{"runtime", 2, &Ledger{}, map[string]bool{waits: true, repairs: true}},
		{"ledger", 0, &Ledger{}, map[string]bool{waits: false, repairs: false}},
	} {
		var text strings.Builder
		node := Node{Names: Naming{Mode: test.mode, Repairs: test.repairs}, Ledger: test.ledger}
		if err := WriteText(&text, []Image{{Image: "nginx", Node: node}}); err != nil {
			t.Fatal(err)
		}
		for part, want := range test.want {
			if got := strings.Contains(text.String(), part); got != want {
				t.Errorf("%+v: contains %q: %v, want %v", node, part, got, want)
			}
		}
	}
}

// TestSummaryOfOrigins requires a column for the images' registries only if one is known.
func TestSummaryOfOrigins(t *testing.T) {
	own := Image{Image: "a:1", Pulled: "a:1", Node: Node{Served: "a:1", Reason: "stored under its own name"}}
	mirrored := Image{Image: "b:1", Pulled: "b:1", Node: Node{Served: "b:1", Registry: "http://hub:5000"}}
	for want, images := range map[string][]Image{
		"IMAGE SERVED BY AS a:1 the original a:1 0 of": {own},
		"IMAGE SERVED BY AS ON THE NODE a:1 the original a:1 stored under its own name b:1 the original b:1 from http://hub:5000 0 of": {own, mirrored},
	} {
		var text strings.Builder
		if err := WriteSummary(&text, images); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(text.String()), " "); !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestUnknownIsNotAbsent requires separate texts for registries that failed, and for registries
// that are not asked.
func TestUnknownIsNotAbsent(t *testing.T) {
	unasked := []Registry{{Registry: "http://hub", Reference: "hub/library/nginx:1", Answer: registry.Unknown.String(), Circuit: "closed"}}
	lacking := []Registry{{Registry: "http://hub", Reference: "hub/library/nginx:1", Answer: registry.Absent.String(), Circuit: "closed"}}
	never := string(registry.FallbackNever)
	for _, test := range []struct {
		name          string
		image         Image
		text, summary []string
	}{
		{
			"a registry, and no other may be asked", Image{Image: "nginx:1", Reference: "docker.io/library/nginx:1", Registries: unasked, Fallback: never},
			[]string{"could not ask", "no registry confirms that it has the image, and the original registry is not used"}, []string{"none (a registry could not be asked)"},
		},
		{
			"no registry", Image{Image: "nginx:1", Reference: "docker.io/library/nginx:1", Registries: lacking, Fallback: never},
			[]string{"no registry serves the image, and the original registry is not used"}, []string{"none  "},
		},
		{
			"a registry, and no other may be asked, but none is configured", Image{Image: "nginx:1", Reference: "docker.io/library/nginx:1", Fallback: never},
			[]string{"no registry is configured, and the original registry is not used (fallback: never)"}, nil,
		},
		{
			"a registry, as none is configured", Image{Image: "nginx:1", Reference: "docker.io/library/nginx:1", Pulled: "nginx:1"},
			[]string{"the requested name: no registry is configured"}, []string{"the original"},
		},
		{
			"a registry, as its rules exclude the image", Image{Image: "nginx:1", Reference: "docker.io/library/nginx:1", Pulled: "nginx:1", Registries: []Registry{{Registry: "http://hub", Rule: "no pattern in match"}}},
			[]string{"the requested name: no registry is configured for this image"}, []string{"the original"},
		},
		{
			"the runtime", Image{Image: "nginx:1", Registries: lacking, Pulled: "nginx:1", Node: Node{Problem: "boom", Runtime: []Presence{{Reference: "hub/library/nginx:1", Problem: "boom"}}}},
			[]string{"on the node unknown", "runtime unknown", "boom"}, []string{"  unknown\n"},
		},
	} {
		var text, summary strings.Builder
		if err := WriteText(&text, []Image{test.image}); err != nil {
			t.Fatal(err)
		}
		if err := WriteSummary(&summary, []Image{test.image}); err != nil {
			t.Fatal(err)
		}
		for _, want := range test.text {
			if !strings.Contains(strings.Join(strings.Fields(text.String()), " "), want) {
				t.Errorf("%s: %q is missing in\n%s", test.name, want, text.String())
			}
		}
		for _, want := range test.summary {
			if !strings.Contains(summary.String(), want) {
				t.Errorf("%s: %q is missing in\n%s", test.name, want, summary.String())
			}
		}
	}
}

// TestTextIsNarrow requires short digests, lines of at most 120 columns and no trailing blanks
// for a usual image, and the age of a cached answer.
func TestTextIsNarrow(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	image := Image{
		Image: "nginx:1.25", Reference: "docker.io/library/nginx:1.25", Pulled: "hub:5000/library/nginx:1.25", Registry: "http://hub:5000", User: "shim",
		Registries: []Registry{
			{Registry: "http://hub:5000", Rule: "all images", Reference: "hub:5000/library/nginx:1.25", Answer: "found", Digest: digest, Seconds: 1, Circuit: "closed"},
			{Registry: "http://site:5000", Rule: "all images", Reference: "site:5000/library/nginx:1.25", Answer: "absent", Cached: true, Age: 12, Left: 18, Circuit: "closed"},
		},
		Node: Node{Served: digest, Names: Naming{Mode: "runtime"}, Runtime: []Presence{{Reference: "nginx:1.25"}, {Reference: digest, Image: digest}}},
	}
	var text strings.Builder
	if err := WriteText(&text, []Image{image}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasSuffix(line, " ") || len(line) > 120 || strings.Contains(line, "cdef") {
			t.Errorf("%d columns: %q", len(line), line)
		}
	}
	for _, want := range []string{"sha256:0123456789ab;", "; cached 12s ago, expires in 18s; --fresh asks now\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in\n%s", want, text.String())
		}
	}
}

// TestTextOfStoppedRuntime requires that the place of the names is not shown as current if the
// runtime does not answer.
func TestTextOfStoppedRuntime(t *testing.T) {
	var text strings.Builder
	image := Image{Image: "nginx", Node: Node{Names: Naming{Mode: "runtime", Stale: true}, Problem: "connection refused"}}
	if err := WriteText(&text, []Image{image}); err != nil {
		t.Fatal(err)
	}
	if want := "kept by containerd  last known; the runtime does not answer\n"; !strings.Contains(text.String(), want) {
		t.Errorf("%q is missing in\n%s", want, text.String())
	}
}
