package e2e

import "testing"

// TestPreloadedImage uses an image that was loaded under the registry's name only, as sealos
// does. A request for docker.io's name must find it and add that name.
func TestPreloadedImage(t *testing.T) {
	n := newNamingNode(t)
	image := smallImage(t, "")
	digest := n.push(t, "library/nginx:1.25", image)
	id := hash(t, image.ConfigName)
	var own, original map[string]string
	for name, preload := range map[string]func(t *testing.T){
		"pulled": func(t *testing.T) {
			own, original = named(n.own("library/nginx:1.25"), digest), named("docker.io/library/nginx:1.25", digest)
			n.pull(t, n.direct, n.own("library/nginx:1.25"), nil)
		},
		"loaded": func(t *testing.T) {
			if err := n.store.Load(testContext(t), n.own("library/nginx:1.25"), image); err != nil {
				t.Fatal(err)
			}
			own = map[string]string{n.own("library/nginx:1.25"): digest}
			original = map[string]string{"docker.io/library/nginx:1.25": digest}
			eventually(t, func() string {
				if n.status(t, n.direct, id) == nil {
					return "CRI doesn't show the loaded image"
				}
				return ""
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			preload(t)
			for _, asked := range []string{"quay.io/library/nginx:1.25", "nginx:1.26", "library/other:1.25"} {
				if got := n.status(t, n.through, asked); got != nil {
					t.Errorf("status of %s: got %v", asked, got)
				}
			}
			n.wantNames(t, own)
			if got := n.status(t, n.through, "nginx:1.25").GetId(); got != id {
				t.Fatalf("status of nginx:1.25: got %q, want %s", got, id)
			}
			for _, other := range []string{"quay.io/library/nginx:1.25", "ghcr.io/library/nginx:1.25"} {
				if got := n.status(t, n.through, other); got != nil {
					t.Errorf("status of %s, another source: got %v", other, got)
				}
			}
			n.wantNames(t, union(own, original))
			n.remove(t, n.through, "nginx:1.25")
			n.awaitNames(t, nil)
		})
	}
}

// TestPreloadedImageOfAContainer creates a container by docker.io's name of a preloaded
// image.
func TestPreloadedImageOfAContainer(t *testing.T) {
	n := newNamingNode(t)
	n.push(t, "library/nginx:1.25", mustImage(t, "preloaded"))
	n.pull(t, n.direct, n.own("library/nginx:1.25"), nil)
	pod := n.startPod(t)
	if _, err := pod.Run(testContext(t), "web", "nginx:1.25"); err != nil {
		t.Error(err)
	}
}
