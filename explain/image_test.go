package explain

import (
	"strings"
	"testing"

	"image-cri-shim/registry"
)

// An image that only a last resort has is pulled under its requested name, with the reason in
// the text.
func TestImageOfALastResort(t *testing.T) {
	i := Image{Image: "nginx:1.25", Reference: "docker.io/library/nginx:1.25", Pulled: "nginx:1.25", Fallback: "original", Registries: []Registry{
		{Registry: "http://hub:5000", Answer: registry.Found.String(), Reference: "hub:5000/library/nginx:1.25", Reason: "comes last until 15:04:05", Circuit: "closed"},
		{Registry: "http://other:5000", Answer: registry.Unknown.String(), Circuit: "closed"},
	}}
	var text strings.Builder
	if err := WriteText(&text, []Image{i}); err != nil || !strings.Contains(text.String(), "the requested name: the registry that has the image comes after the original") {
		t.Errorf("%v:\n%s", err, text.String())
	}
	text.Reset()
	if err := WriteSummary(&text, []Image{i}); err != nil || !strings.Contains(text.String(), "the original (a registry that has the image comes after it)") {
		t.Errorf("%v:\n%s", err, text.String())
	}
}
