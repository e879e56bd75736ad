package e2e

import (
	"slices"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestHostInAnotherSpelling pulls names on the private registry's own host in several
// spellings. A real containerd must pull them with the registry's login and keep the
// spelling. If match excludes the name, the registry's login must not be used.
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
					t.Errorf("%s was pulled without the client's credentials: %s", name, id)
				}
				if image := n.status(t, n.through, name); image != nil {
					t.Errorf("%s exists: %v", name, image)
				}
			}
		})
	}
}
