package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// namingNode is a node whose containerd keeps the names of images. It has its own private
// registry; the original registries lack its images.
type namingNode struct {
	*node
	store *testbed.ImageStore
	hub   *testbed.FaultyRegistry
	gate  atomic.Pointer[blobGate] // for the registry's blobs; nil: open
}

// blobGate delays the answers to requests for blobs.
type blobGate struct {
	requested   chan struct{} // closed at the first request
	released    chan struct{} // closed to let all requests pass
	requestOnce sync.Once
	releaseOnce sync.Once
}

func newBlobGate() *blobGate {
	return &blobGate{requested: make(chan struct{}), released: make(chan struct{})}
}

// awaitRequest waits for the first request.
func (g *blobGate) awaitRequest(t *testing.T) {
	t.Helper()
	select {
	case <-g.requested:
	case <-testContext(t).Done():
		t.Fatal("the runtime has not asked the registry for a blob")
	}
}

func (g *blobGate) release() { g.releaseOnce.Do(func() { close(g.released) }) }

// newNamingNode starts a shim in front of the shared containerd.
func newNamingNode(t *testing.T) *namingNode {
	t.Helper()
	return newNamingNodeOn(t, needContainerd(t), "")
}

// newNamingNodeOn is newNamingNode for another runtime and with additional configuration.
func newNamingNodeOn(t *testing.T, runtime runtime, configuration string) *namingNode {
	t.Helper()
	n := &namingNode{}
	n.hub = startFaultyRegistry(t, func(response http.ResponseWriter, request *http.Request, next http.Handler) {
		if g := n.gate.Load(); g != nil && strings.Contains(request.URL.Path, "/blobs/") {
			g.requestOnce.Do(func() { close(g.requested) })
			select {
			case <-g.released:
			case <-request.Context().Done():
				return
			}
		}
		next.ServeHTTP(response, request)
	})
	n.start(t, runtime, configuration)
	return n
}

// start starts the shim.
func (n *namingNode) start(t *testing.T, runtime runtime, configuration string) {
	t.Helper()
	n.node = newNode(t, runtime, "address: "+n.hub.Address()+"\ndebug: true\n"+configuration)
	var err error
	if n.store, err = testbed.OpenImageStore(runtime.Socket()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.store.Close() })
}

// holdBlobs delays the blobs of all pulls until release is called.
func (n *namingNode) holdBlobs(t *testing.T) *blobGate {
	t.Helper()
	g := newBlobGate()
	n.gate.Store(g)
	t.Cleanup(g.release)
	return g
}

// smallImage builds a unique image.
func smallImage(t *testing.T, variant string) v1.Image {
	t.Helper()
	image, err := testbed.SmallImage(t.Name() + " " + variant)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// push pushes an image to the private registry and returns its digest.
func (n *namingNode) push(t *testing.T, repository string, image testbed.ImageOrIndex) (digest string) {
	t.Helper()
	if err := n.hub.Push(testContext(t), repository, image); err != nil {
		t.Fatal(err)
	}
	return hash(t, image.Digest)
}

// names returns the names in containerd's own API with their digests. It leaves out records
// named by an image's ID, and the sandbox image.
func (n *namingNode) names(t *testing.T) map[string]string {
	t.Helper()
	records, err := n.store.Images(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]string)
	for _, record := range records {
		if !strings.HasPrefix(record.Name, "sha256:") && repositoryOf(record.Name) != repositoryOf(sandboxImage) {
			names[record.Name] = record.Target.GetDigest()
		}
	}
	return names
}

// wantNames requires that containerd has exactly these names.
func (n *namingNode) wantNames(t *testing.T, want map[string]string) {
	t.Helper()
	if got := n.names(t); !maps.Equal(got, want) {
		t.Errorf("containerd has\n%s\nwant\n%s", lines(got), lines(want))
	}
}

// awaitNames is wantNames for changes that are made in the background.
func (n *namingNode) awaitNames(t *testing.T, want map[string]string) {
	t.Helper()
	eventually(t, func() string {
		if got := n.names(t); !maps.Equal(got, want) {
			return fmt.Sprintf("containerd has\n%s\nwant\n%s", lines(got), lines(want))
		}
		return ""
	})
}

func lines(names map[string]string) string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(&text, "%s -> %s\n", name, names[name])
	}
	return text.String()
}

// named returns the names that an image has after a pull by tag.
func named(reference, digest string) map[string]string {
	return map[string]string{reference: digest, repositoryOf(reference) + "@" + digest: digest}
}

func union(all ...map[string]string) map[string]string {
	names := make(map[string]string)
	for _, some := range all {
		maps.Copy(names, some)
	}
	return names
}

// own returns the private registry's own name of an image.
func (n *namingNode) own(repository string) string { return hostOf(n.hub) + "/" + repository }

// wantSeen waits until CRI shows an image with these names, by name and by ID.
func (n *namingNode) wantSeen(t *testing.T, reference, id string, want map[string]string) {
	t.Helper()
	eventually(t, func() string {
		for _, asked := range []string{reference, id} {
			image := n.status(t, n.through, asked)
			if image.GetId() != id {
				return fmt.Sprintf("status of %s: got image %q, want %s", asked, image.GetId(), id)
			}
			got := slices.Sorted(slices.Values(slices.Concat(image.RepoTags, image.RepoDigests)))
			if !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
				return fmt.Sprintf("status of %s: got names %q, want %q", asked, got, slices.Sorted(maps.Keys(want)))
			}
		}
		return ""
	})
}

// tryPull pulls through the shim and returns any error.
func (n *namingNode) tryPull(ctx context.Context, name string) (id string, err error) {
	response, err := runtimeapi.NewImageServiceClient(n.through.Connection).PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: name}})
	return response.GetImageRef(), err
}

func (n *namingNode) tryRemove(ctx context.Context, name string) error {
	_, err := runtimeapi.NewImageServiceClient(n.through.Connection).RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: name}})
	return err
}
