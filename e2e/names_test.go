package e2e

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

func TestShortNamesAreAlike(t *testing.T) {
	spellings := []string{"nginx", "nginx:latest", "docker.io/library/nginx", "docker.io/library/nginx:latest", "index.docker.io/library/nginx"}
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		for _, pulled := range spellings {
			n := newNode(t, runtime, privateConfiguration())
			want := n.pull(t, n.through, pulled, nil)
			for _, asked := range spellings {
				n.wantStatus(t, asked, want)
			}
		}
	})
}

// imageView is an image as a client saw it after a step.
type imageView struct {
	step  string
	image *runtimeapi.Image
}

// TestNamesAreThoseOfTheRuntime makes the same calls with and without the shim, for an image
// that both registries have, and requires the same names and IDs.
func TestNamesAreThoseOfTheRuntime(t *testing.T) {
	digest := shared.digest(t, shared.private, "library/same:1")
	for _, test := range []struct {
		name  string
		pulls []string
	}{
		{"tag", []string{"same:1"}},
		{"digest", []string{"same@" + digest}},
		{"tag and digest", []string{"same:1@" + digest}},
		{"tag, then digest", []string{"same:1", "docker.io/library/same@" + digest}},
		{"digest, then tag", []string{"same@" + digest, "docker.io/library/same:1"}},
		{"twice", []string{"same:1", "same:1"}},
		{"with the original's", []string{"same:1", "original:1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			onEachRuntime(t, func(t *testing.T, runtime runtime) {
				n := newNode(t, runtime, privateConfiguration())
				want := n.viewImages(t, n.direct, test.pulls, digest)
				n.removeImages(t)
				got := n.viewImages(t, n.through, test.pulls, digest)
				if decision := n.decision(t, test.pulls[0]); decision.Registry != shared.private.Address() {
					t.Fatalf("not served by the private registry: %+v", decision)
				}
				if len(got) != len(want) {
					t.Fatalf("got %d answers, want %d:\n%v\n%v", len(got), len(want), got, want)
				}
				for i := range want {
					if got[i].step != want[i].step || !proto.Equal(got[i].image, want[i].image) {
						t.Errorf("with the shim    %s: %v\nwithout the shim %s: %v", got[i].step, got[i].image, want[i].step, want[i].image)
					}
				}
			})
		})
	}
}

// viewImages pulls images, requests them by every name and ID and in the list, and then
// removes them.
func (n *node) viewImages(t *testing.T, client *testbed.Client, pulls []string, digest string) []imageView {
	t.Helper()
	var all []imageView
	add := func(step string, image *runtimeapi.Image) {
		if image != nil {
			image = proto.CloneOf(image)
			slices.Sort(image.RepoTags)
			slices.Sort(image.RepoDigests)
		}
		all = append(all, imageView{step, image})
	}
	var ids []string
	for _, name := range pulls {
		id := n.pull(t, client, name, callerLogin)
		ids = append(ids, id)
		add("pull "+name, &runtimeapi.Image{Id: id})
	}
	names := slices.Concat(pulls, ids, []string{
		"same", "same:1", "docker.io/library/same:1", "same@" + digest, "same:1@" + digest, "original:1",
		strings.TrimPrefix(ids[0], "sha256:"), ids[0][:len("sha256:")+12], digest,
	})
	for _, name := range names {
		add("status "+name, n.status(t, client, name))
	}
	listed := n.list(t, client)
	slices.SortFunc(listed, func(a, b *runtimeapi.Image) int { return strings.Compare(a.Id, b.Id) })
	for _, image := range listed {
		add("list", image)
	}
	for _, name := range pulls {
		n.remove(t, client, name)
		for _, name := range names {
			add("status after removal "+name, n.status(t, client, name))
		}
	}
	return all
}

func TestRemove(t *testing.T) {
	const original = "docker.io/library/nginx:1.25"
	id := shared.id(t, shared.private, "library/nginx:1.25")
	digest := shared.digest(t, shared.private, "library/nginx:1.25")
	for _, test := range []struct{ name, pulled, removed string }{
		{"by short name", original, "nginx:1.25"},
		{"by full name", "nginx:1.25", original},
		{"by ID", "nginx:1.25", id},
		{"by digest", "nginx:1.25", "nginx@" + digest},
	} {
		t.Run(test.name, func(t *testing.T) {
			onEachRuntime(t, func(t *testing.T, runtime runtime) {
				n := newNode(t, runtime, privateConfiguration())
				n.pull(t, n.through, test.pulled, nil)
				n.remove(t, n.through, test.removed)
				for _, client := range []*testbed.Client{n.through, n.direct} {
					for _, name := range []string{test.pulled, test.removed, id} {
						if image := n.status(t, client, name); image != nil {
							t.Errorf("%s still exists: %v", name, image)
						}
					}
				}
				n.remove(t, n.through, test.removed) // removing a missing image succeeds
			})
		})
	}
}

func TestUnknownNamesAndIDs(t *testing.T) {
	zero := strings.Repeat("0", 64)
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration())
		n.pull(t, n.through, "nginx:1.25", nil)
		n.pull(t, n.direct, "original:1", callerLogin) // containerd takes "" for a prefix of the only image's ID
		for _, name := range []string{zero, "sha256:" + zero, "nginx@sha256:" + zero, "nowhere", "nginx:2", "Not//A name", "a b", "", "@", ":", "sha256:short", "../../etc"} {
			direct := runtimeapi.NewImageServiceClient(n.direct.Connection)
			through := runtimeapi.NewImageServiceClient(n.through.Connection)
			request := &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: name}}
			want, wantError := direct.ImageStatus(testContext(t), request)
			got, gotError := through.ImageStatus(testContext(t), request)
			if !proto.Equal(got, want) || !sameError(gotError, wantError) {
				t.Errorf("status of %q: got %v, %v, want %v, %v", name, got, gotError, want, wantError)
			}
			removal := &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: name}}
			_, wantError = direct.RemoveImage(testContext(t), removal)
			_, gotError = through.RemoveImage(testContext(t), removal)
			if !sameError(gotError, wantError) {
				t.Errorf("remove %q: got %v, want %v", name, gotError, wantError)
			}
		}
	})
}

// TestImagesOfBothSides requests images through the shim that the runtime had before, and
// images from the runtime that were pulled through the shim.
func TestImagesOfBothSides(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration()+namesInLedger)
		before := n.pull(t, n.direct, "original:1", callerLogin)
		n.wantStatus(t, "original:1", before)
		n.wantStatus(t, before, before)

		pulled := n.pull(t, n.through, "nginx:1.25", nil)
		stored := shared.private.Host() + "/library/nginx:1.25"
		if image := n.status(t, n.direct, stored); image.GetId() != pulled {
			t.Errorf("the runtime has %q as %s, want %s", image.GetId(), stored, pulled)
		}
		var names []string
		for _, image := range n.list(t, n.through) {
			names = append(names, image.RepoTags...)
		}
		for _, want := range []string{"docker.io/library/original:1", "docker.io/library/nginx:1.25"} {
			if !slices.Contains(names, want) {
				t.Errorf("the list %q does not contain %s", names, want)
			}
		}
		n.remove(t, n.direct, stored)
		if image := n.status(t, n.through, "nginx:1.25"); image != nil {
			t.Errorf("an image that was removed without the shim still exists: %v", image)
		}
	})
}
