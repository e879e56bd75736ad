package rewrite

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// load gives an image a name without a digest, as ctr images import does.
func (n *node) load(reference, id string) {
	n.runtime.ids[id] = true
	n.runtime.names[reference] = id
}

// A reference becomes visible when the reason to hide it is gone.
func TestHiddenUntilItIsLoadedAgain(t *testing.T) {
	const original, loaded = "docker.io/library/nginx:1.25", "sha256:1111"
	for _, crio := range []bool{false, true} {
		for name, remove := range map[string]func(n *node, pulled string){
			"through the shim": func(n *node, _ string) { n.remove("nginx:1.25") },
			"by ID without the shim": func(n *node, pulled string) {
				direct := client{t: n.t, runtime: n.runtime}
				direct.remove(pulled)
				direct.remove(loaded)
				n.list("") // kubelet lists every 30 seconds
			},
			"without the shim, which is asked for the name": func(n *node, pulled string) {
				direct := client{t: n.t, runtime: n.runtime}
				direct.remove(pulled)
				direct.remove(loaded)
				n.status("nginx:1.25")
			},
		} {
			t.Run(name, func(t *testing.T) {
				n := newNode(t)
				n.runtime.crio = crio
				n.push(storedName)
				n.load(original, loaded)
				pulled := n.mustPull("nginx:1.25")
				if image := n.status(loaded); len(image.GetRepoTags()) != 0 {
					t.Errorf("the name has moved, and the older image is %s", names(image))
				}
				remove(n, pulled)
				if image := n.status("nginx:1.25"); image != nil {
					t.Errorf("removed, and found as %s", names(image))
				}
				n.load(original, loaded)
				if image := n.status("nginx:1.25"); image.GetId() != loaded || !slices.Equal(image.RepoTags, []string{original}) {
					t.Errorf("loaded again, and found as %s", names(image))
				}
			})
		}
	}
}

// A registry's name is visible if it is loaded after the image of a mirrored pull has lost it.
func TestStoredReferenceLoadedAgain(t *testing.T) {
	n := newNode(t)
	n.push(storedName)
	pulled := n.mustPull("nginx:1.25")
	n.load(storedName, "sha256:2222")
	n.list("")
	n.load(storedName, pulled)
	want := []string{"docker.io/library/nginx:1.25", storedName}
	image := n.status(storedName)
	if slices.Sort(image.GetRepoTags()); !slices.Equal(image.GetRepoTags(), want) {
		t.Errorf("%s, want the tags %q", names(image), want)
	}
}

// During a pull for another name, a reference stays visible on its former image, and the pulled
// image is not shown under it.
func TestVisibleImageDuringAPull(t *testing.T) {
	const own = hub + "/library/nginx:1.25"
	n := newNode(t)
	n.push(own)
	visible := n.mustPull(own)
	n.runtime.remote[own] = newContent("newer")
	encoded, err := proto.Marshal(&runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: "nginx:1.25"}})
	if err != nil {
		t.Fatal(err)
	}
	before := names(n.status(own))
	expect := func(when string) {
		t.Helper()
		if got := names(n.status(own)); got != before {
			t.Errorf("%s: %s, want %s", when, got, before)
		}
		if got := allNames(n.list("")); !slices.Contains(got, before) {
			t.Errorf("%s: the list has %q, want %s among them", when, got, before)
		}
	}
	_, err = n.rewriter.Unary()["/runtime.v1.ImageService/PullImage"](t.Context(), encoded, func(ctx context.Context, method string, request []byte) ([]byte, error) {
		if strings.HasSuffix(method, "/PullImage") {
			expect("while the pull has brought nothing")
		}
		return n.runtime.invoke(ctx, method, request)
	})
	if err != nil {
		t.Fatal(err)
	}
	if image := n.status(own); image.GetId() != visible {
		t.Errorf("after the pull: %s, want the image that was pulled by this name", names(image))
	}
}

// A pull in progress stores a tag and then a digest. Clients see neither.
func TestDigestDuringAPull(t *testing.T) {
	n := newNode(t)
	n.push(storedName)
	if err := n.duringPull(t.Context(), func(context.Context) error {
		if got := strings.Join(allNames(n.list("")), " "); strings.Contains(got, hub) {
			t.Errorf("the list shows %s", got)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// A registry's name that a client has pulled stays visible after a restart, after a pull for
// another name, and after the removal of that other name.
func TestAskedByItsOwnName(t *testing.T) {
	for _, crio := range []bool{false, true} {
		n := newNode(t)
		n.runtime.crio = crio
		n.push(storedName)
		n.mustPull("nginx:1.25")
		if image := n.status(storedName); image != nil {
			t.Errorf("not asked for, and found as %s", names(image))
		}
		n.mustPull(storedName)
		n.mustPull("nginx:1.25")
		if err := n.ledger.Close(); err != nil {
			t.Fatal(err)
		}
		n.reopenLedger()
		want := []string{"docker.io/library/nginx:1.25", storedName}
		image := n.status(storedName)
		if slices.Sort(image.GetRepoTags()); !slices.Equal(image.GetRepoTags(), want) {
			t.Errorf("crio %v: %s, want the tags %q", crio, names(image), want)
		}
		n.remove("nginx:1.25")
		if image := n.status(storedName); crio != slices.Equal(image.GetRepoTags(), []string{storedName}) {
			t.Errorf("crio %v: after the other name was removed it is %s", crio, names(image))
		}
	}
}

// CRI-O removes a single name from an image. Other names with the same stored reference must
// keep the image.
func TestNamesThatShareAReferenceAreRemovedOneByOne(t *testing.T) {
	n := newNode(t)
	n.runtime.crio = true
	n.push(hub + "/pause:3.9")
	n.mustPull("registry.k8s.io/pause:3.9")
	id := n.mustPull("k8s.gcr.io/pause:3.9")
	n.remove("registry.k8s.io/pause:3.9")
	if image := n.status("registry.k8s.io/pause:3.9"); image != nil {
		t.Errorf("removed, and found as %s", names(image))
	}
	if image := n.status("k8s.gcr.io/pause:3.9"); image.GetId() != id {
		t.Errorf("the other name is %s", names(image))
	}
	n.remove("k8s.gcr.io/pause:3.9")
	if left := (client{t: t, runtime: n.runtime}).list(""); len(left) != 0 {
		t.Errorf("the runtime still has %q", allNames(left))
	}
}

// The removal of a missing name does not affect an image that was pulled under another name with
// the same path, and ImageStatus of a missing name gives this name to no image.
func TestNamesWithTheSamePath(t *testing.T) {
	const own = hub + "/team/app:1"
	for name, pulled := range map[string]string{"the registry's own": own, "another registry's": "quay.io/team/app:1"} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.push(own)
			id := n.mustPull(pulled)
			n.mustPull(own) // visible
			before := names(n.status(id))
			for _, other := range []string{"ghcr.io/team/app:1", "registry.k8s.io/team/app:1"} {
				if image := n.status(other); image != nil {
					t.Errorf("%s is found as %s", other, names(image))
				}
				n.remove(other)
			}
			if got := names(n.status(id)); got != before {
				t.Errorf("the image is %s, was %s", got, before)
			}
			if _, err := n.ask("runtime.v1", "CreateContainer", "ghcr.io/team/app:1", n.runtime.invoke); status.Code(err) != codes.NotFound {
				t.Errorf("a container of it: %v", err)
			}
		})
	}
}

// A container can't be created by a hidden name, because the image belongs to another name.
func TestContainerOfAHiddenName(t *testing.T) {
	n := newNode(t)
	pulledFromHub(n)
	if _, err := n.ask("runtime.v1", "CreateContainer", storedName, n.runtime.invoke); status.Code(err) != codes.NotFound {
		t.Errorf("got %v", err)
	}
}

// TestStreamReconciles checks that only a complete StreamImages reconciles the ledger.
func TestStreamReconciles(t *testing.T) {
	for _, ends := range []bool{false, true} {
		n := newNode(t)
		id := pulledFromHub(n)
		_, transform, err := n.rewriter.Stream()["/runtime.v1.ImageService/StreamImages"](t.Context(), nil, n.runtime.invoke)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := transform([]byte{}); err != nil {
			t.Fatal(err)
		}
		if ends {
			_, _ = transform(nil)
		}
		if got := len(n.ledger.NamesOf(id)); (got == 0) != ends {
			t.Errorf("the stream ends: %v, and the image has %d names", ends, got)
		}
	}
}

// A name that is recorded after the request for a list stays, although the list lacks it.
func TestReconcileKeepsNewerRecords(t *testing.T) {
	n := newNode(t)
	n.push(storedName, hub+"/library/other:1")
	n.mustPull("other:1") // so that the list is decoded
	method := "/runtime.v1.ImageService/ListImages"
	raw, err := n.rewriter.Unary()[method](t.Context(), nil, func(ctx context.Context, called string, request []byte) ([]byte, error) {
		answer, err := n.runtime.invoke(ctx, called, request)
		if called == method {
			n.mustPull("nginx:1.25")
		}
		return answer, err
	})
	if err != nil || len(raw) == 0 {
		t.Fatal(raw, err)
	}
	if n.status("nginx:1.25") == nil {
		t.Error("the ledger dropped the name")
	}
}
