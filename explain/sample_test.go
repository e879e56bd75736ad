package explain

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/lookup"
	"image-cri-shim/registry"
	"image-cri-shim/rewrite"
	"image-cri-shim/rewrite/ledger"
)

// TestSampleImages counts the lookups of a node with 30 images.
func TestSampleImages(t *testing.T) {
	const all = 30
	var images []*runtime.Image
	for i := range all {
		images = append(images, &runtime.Image{Id: fmt.Sprint(i), RepoTags: []string{fmt.Sprintf("docker.io/team/app-%02d:1", i)}})
	}
	list := func(_ context.Context, method string, _ []byte) ([]byte, error) {
		if strings.HasSuffix(method, "/Version") {
			return proto.Marshal(&runtime.VersionResponse{})
		}
		return proto.Marshal(&runtime.ListImagesResponse{Images: images})
	}
	for _, test := range []struct {
		name          string
		status        func(image string) int
		match         []string
		lookups       int64
		found, images int
	}{
		{"has all", func(string) int { return 200 }, nil, 1, 1, 1},
		{"lacks the first ones", func(image string) int { return map[bool]int{true: 404, false: 200}[image < "app-04"] }, nil, 4, 3, 4},
		{"has none", func(string) int { return 404 }, nil, all, 0, all},
		{"refuses all", func(string) int { return 403 }, nil, failureLimit, 0, failureLimit},
		{"refuses the first ones", func(image string) int { return map[bool]int{true: 403, false: 200}[image < "app-06"] }, nil, 4, 3, 4},
		{"refuses all but the last", func(image string) int { return map[bool]int{true: 403, false: 200}[image < "app-18"] }, nil, 4, 2, 4},
		{"is asked for one", func(string) int { return 200 }, []string{"docker.io/team/app-20"}, 1, 1, all},
	} {
		t.Run(test.name, func(t *testing.T) {
			var lookups atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodHead {
					w.WriteHeader(http.StatusForbidden)
					return
				}
				lookups.Add(1)
				w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
				w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
				w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
				w.WriteHeader(test.status(strings.Split(r.URL.Path, "/")[3]))
			}))
			defer server.Close()
			registries, err := registry.New(registry.Options{Registries: []registry.Config{{Address: server.URL, Match: test.match}}})
			if err != nil {
				t.Fatal(err)
			}
			defer registries.Close()
			e := &Explainer{Registries: registries, Rewriter: rewrite.New(rewrite.Options{Lookup: lookup.New(registries), Ledger: ledger.New()}), Invoke: list}
			sampled, total, err := e.SampleImages(t.Context(), 100)
			found := 0
			for _, image := range sampled {
				if len(image.Answers) > 0 && image.Answers[0].State == registry.Found {
					found++
				}
			}
			if err != nil || lookups.Load() != test.lookups || found != test.found || len(sampled) != test.images || total != all {
				t.Errorf("%d lookups, found %d of %d (of %d), %v; want %d, %d of %d", lookups.Load(), found, len(sampled), total, err, test.lookups, test.found, test.images)
			}
		})
	}
}

// TestSpread requires every image of lists of any length.
func TestSpread(t *testing.T) {
	for length := range 101 {
		var images []Lookups
		for i := range length {
			images = append(images, Lookups{Image: fmt.Sprint(i)})
		}
		seen := map[string]bool{}
		for _, image := range spread(images) {
			seen[image.Image] = true
		}
		if len(seen) != length {
			t.Errorf("found %d of %d images", len(seen), length)
		}
	}
}
