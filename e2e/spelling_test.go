package e2e

import (
	"slices"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestHostInAnotherSpelling requires of a real containerd that a name on the private
// registry's own host is pulled with the registry's login however the host is
// spelled, keeps its spelling, and is left to the caller where match excludes it.
func TestHostInAnotherSpelling(t *testing.T) {
	runtime := needContainerd(t)
	host, port, _ := strings.Cut(shared.private.Host(), ":")
	for _, spelling := range []string{host + ":" + port, host + ":0" + port} {
		asked := spelling + "/library/nginx:1.25"
		t.Run("open/"+spelling, func(t *testing.T) {
			n := newNode(t, runtime, privateConfiguration())
			n.pull(t, n.through, asked, nil)
			if image := n.status(t, n.through, asked); image == nil || !slices.Contains(image.RepoTags, asked) {
				t.Errorf("status of %s: %v, want it under that name", asked, image)
			}
		})
		t.Run("excluded/"+spelling, func(t *testing.T) {
			n := newNode(t, runtime, privateConfiguration()+"match: ['!"+host+":00"+port+"/library']\n")
			for _, name := range []string{asked, "nginx:1.25", shared.upstream.Host() + "/library/nginx:1.25"} {
				if id, err := n.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: name}, nil, nil); err == nil {
					t.Errorf("%s was pulled without the caller's credentials: %s", name, id)
				}
				if image := n.status(t, n.through, name); image != nil {
					t.Errorf("%s is found: %v", name, image)
				}
			}
		})
	}
}
