package rewrite

import (
	"slices"
	"testing"
)

func TestPreloaded(t *testing.T) {
	const app = hub + "/team/app:1"
	for _, test := range []struct {
		name, original string
		may            bool
		names          []string
		want           bool
	}{
		{"the registry's name alone", "docker.io/team/app:1", true, []string{app}, true},
		{"not a source of this registry", "ghcr.io/team/app:1", false, []string{app}, false},
		{"more names of the registry", "docker.io/team/app:1", true, []string{app, hub + "/team/app:latest", hub + "/x@sha256:1"}, true},
		{"a name of the same source", "docker.io/team/app:1", true, []string{app, "docker.io/team/app:latest"}, true},
		{"as cri-dockerd writes it", "docker.io/team/app:1", true, []string{app, "team/app:latest"}, true},
		{"a second source", "docker.io/team/app:1", true, []string{app, "quay.io/team/app:1"}, false},
		{"hidden", "docker.io/team/app:1", true, []string{hub + "/team/app:latest"}, false},
		{"no names", "docker.io/team/app:1", true, nil, false},
		{"itself", app, true, []string{app}, false},
	} {
		if got := preloaded(test.original, Candidate{Reference: app, MayBePreloaded: test.may}, test.names); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// The first original that a client asks for gets a preloaded image. Others do not.
func TestSecondSourceOfAPreloadedImage(t *testing.T) {
	n := newNode(t)
	n.registry.match = []string{"quay.io"}
	n.load(hub+"/team/app:1", "sha256:1111")
	for name, found := range map[string]bool{"ghcr.io/team/app:1": false, "k8s.gcr.io/team/app:1": false} {
		if image := n.status(name); (image != nil) != found {
			t.Errorf("%s: %s", name, names(image))
		}
	}
	if image := n.status("quay.io/team/app:1"); image == nil {
		t.Error("not found for a source that match names")
	}
	if image := n.status("team/app:1"); image != nil {
		t.Errorf("found for a second source: %s", names(image))
	}
	image := n.status("sha256:1111")
	slices.Sort(image.RepoTags)
	if want := []string{"quay.io/team/app:1", hub + "/team/app:1"}; !slices.Equal(image.RepoTags, want) {
		t.Errorf("tags %q, want %q", image.RepoTags, want)
	}
	n.remove("team/app:1")
	if n.status("quay.io/team/app:1") == nil {
		t.Error("removed with the second source's name")
	}
	n.remove("quay.io/team/app:1")
	if image := n.status("sha256:1111"); image != nil {
		t.Errorf("the image still exists: %s", names(image))
	}
}
