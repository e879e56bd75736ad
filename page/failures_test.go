package page

import (
	"slices"
	"testing"
	"time"
)

func TestFailingImages(t *testing.T) {
	failed := func(pod string, age time.Duration) numberedDecision {
		return numberedDecision{At: noon.Add(-age), Decision: Decision{Method: "PullImage", Asked: "nginx", Namespace: "shop", Pod: pod, Error: "Unknown: x"}}
	}
	served := numberedDecision{At: noon.Add(-4 * time.Minute), Decision: Decision{Method: "PullImage", Asked: "nginx"}}
	other := numberedDecision{At: noon, Decision: Decision{Method: "ImageStatus", Asked: "nginx"}}
	images, _ := failingImages(noon, []numberedDecision{other, failed("web", time.Minute), failed("db", 2*time.Minute), failed("web", 3*time.Minute), served, failed("old", 5*time.Minute)})
	if len(images) != 1 {
		t.Fatalf("got %d images", len(images))
	}
	got := images[0]
	if got.Failures != 3 || !slices.Equal(got.Pods, []string{"shop/web", "shop/db"}) || !got.At.Equal(noon.Add(-time.Minute)) {
		t.Errorf("got %+v", got)
	}
	withPod := imageProblems(warning, images)[0]
	if want := "PullImage of nginx failed, pod shop/web: Unknown: x"; withPod.Text != want || withPod.Image != got {
		t.Errorf("got %q, want %q", withPod.Text, want)
	}
}

// TestCauses requires the causes of the configured registries before the original's, and
// without the text that repeats them.
func TestCauses(t *testing.T) {
	const hub = "http://hub:5000 (could not ask: connection refused)"
	for _, test := range []struct {
		tried, error string
		want         []string
	}{
		{"", "Unknown: no such host", []string{"Unknown: no such host"}},
		{
			hub,
			`Unknown: failed to pull and unpack image "docker.io/library/nginx:9": failed to resolve reference "docker.io/library/nginx:9": pull access denied; image-cri-shim tried before: ` + hub,
			[]string{hub, "Unknown: pull access denied"},
		},
		{
			hub,
			"Unknown: RegistryUnavailable: image-cri-shim: nginx may not be pulled from its original registry (fallback: never), tried: " + hub,
			[]string{hub, "Unknown: RegistryUnavailable: image-cri-shim: nginx may not be pulled from its original registry (fallback: never)"},
		},
	} {
		if got := (Decision{Tried: test.tried, Error: test.error}).causes(); !slices.Equal(got, test.want) {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
