package explain

import (
	"strings"
	"testing"

	"image-cri-shim/registry"
	"image-cri-shim/rewrite"
)

// TestTextOfNames says where names are kept, and why.
func TestTextOfNames(t *testing.T) {
	for mode, want := range map[rewrite.NamingMode]string{
		rewrite.NamesInRuntime: "names in the runtime - because",
		rewrite.NamesInLedger:  "names in the ledger - because",
		rewrite.NamesUnknown:   "names unknown - because",
	} {
		var text strings.Builder
		image := Image{Image: "nginx", Node: Node{Names: NamingOf(rewrite.Naming{Mode: mode, Reason: "because"})}}
		if err := WriteText(&text, []Image{image}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(text.String()), " "); !strings.Contains(got, want) {
			t.Errorf("%s: %q is missing in\n%s", mode, want, text.String())
		}
	}
}

// TestUnknownIsNotAbsent has the texts for what could not be asked.
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
			[]string{"could not ask", "no registry says that it has it, and its own is not to be asked"}, []string{"nobody (a registry could not be asked)"},
		},
		{
			"no registry", Image{Image: "nginx:1", Reference: "docker.io/library/nginx:1", Registries: lacking, Fallback: never},
			[]string{"no registry serves it, and its own is not to be asked"}, []string{"nobody  "},
		},
		{
			"the runtime", Image{Image: "nginx:1", Registries: lacking, Pulled: "nginx:1", Node: Node{Problem: "boom", Runtime: []Presence{{Reference: "hub/library/nginx:1", Problem: "boom"}}}},
			[]string{"on the node  unknown", "runtime      unknown", "boom"}, []string{"  unknown\n"},
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
			if !strings.Contains(text.String(), want) {
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
