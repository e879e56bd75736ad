package daemon

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/distribution/reference"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/config"
	"image-cri-shim/lookup"
	"image-cri-shim/registry"
	"image-cri-shim/rewrite"
	"image-cri-shim/rewrite/ledger"
)

// snapshotOf returns the snapshot of a configuration with one registry.
func snapshotOf(t *testing.T, ledger *ledger.Ledger, address string) *snapshot {
	t.Helper()
	settings, err := config.Parse("f", []byte("address: "+address))
	if err != nil {
		t.Fatal(err)
	}
	registries, err := lookup.Open("f", settings, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return newSnapshot(settings, registries, rewrite.Options{Ledger: ledger})
}

// hub is a registry that has each image. If asked is not nil, it signals each request and
// waits.
func hub(t *testing.T, asked chan<- struct{}, goOn <-chan struct{}) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked != nil && strings.Contains(r.URL.Path, "/manifests/") {
			select {
			case asked <- struct{}{}:
				<-goOn
			case <-goOn:
			}
		}
		w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("1", 64))
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Content-Length", "2")
	}))
	t.Cleanup(server.Close)
	return server
}

// TestCallsEndWithWhatTheyBeganWith requires that a call during a reload uses the registries
// that it started with, and that they are closed when it ends. The next call uses the new
// registries.
func TestCallsEndWithWhatTheyBeganWith(t *testing.T) {
	asked, goOn := make(chan struct{}), make(chan struct{})
	oldHub, newHub := hub(t, asked, goOn), hub(t, nil, nil)
	ledger, err := ledger.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	first := snapshotOf(t, ledger, oldHub.URL)
	var all currentSnapshot
	all.Store(first)
	defer func() { all.Load().release() }()
	const method = "/runtime.v1.ImageService/PullImage"
	handle := all.interceptors(first).Unary[method]
	pull := func() (from string) {
		_, err := handle(t.Context(), encode(t, &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: "nginx:1.25"}}),
			func(_ context.Context, called string, request []byte) ([]byte, error) {
				if called != method {
					return nil, nil
				}
				decoded := &runtime.PullImageRequest{}
				err := proto.Unmarshal(request, decoded)
				from = decoded.Image.GetImage()
				return encode(t, &runtime.PullImageResponse{ImageRef: "sha256:" + strings.Repeat("2", 64)}), err
			})
		if err != nil {
			t.Error(err)
		}
		return from
	}
	running := make(chan string)
	go func() { running <- pull() }()
	<-asked
	all.exchange(snapshotOf(t, ledger, newHub.URL))
	if got := pull(); !strings.HasPrefix(got, strings.TrimPrefix(newHub.URL, "http://")) {
		t.Errorf("the next call pulled %s, want it from %s", got, newHub.URL)
	}
	close(goOn)
	if got := <-running; !strings.HasPrefix(got, strings.TrimPrefix(oldHub.URL, "http://")) {
		t.Errorf("the running call pulled %s, want it from %s", got, oldHub.URL)
	}
	other, err := reference.ParseNormalizedNamed("redis:7")
	if err != nil {
		t.Fatal(err)
	}
	for answer := range first.registries.Find(t.Context(), other) {
		if answer.State != registry.Unknown {
			t.Errorf("the old registries are used after their last call, and return %v", answer.State)
		}
	}
}

func encode(t *testing.T, message proto.Message) []byte {
	t.Helper()
	encoded, err := proto.Marshal(message)
	if err != nil {
		t.Error(err)
	}
	return encoded
}

// TestSnapshotsAreExchangedUnderLoad requires that no call gets a closed snapshot.
func TestSnapshotsAreExchangedUnderLoad(t *testing.T) {
	var all currentSnapshot
	all.Store(snapshotOf(t, nil, "hub.local"))
	var calling sync.WaitGroup
	var used sync.Map
	done := make(chan struct{})
	for range 4 {
		calling.Go(func() {
			for {
				g := all.acquire()
				if g.users.Load() < 1 {
					t.Error("got a closed snapshot")
				}
				used.Store(g, nil)
				g.release()
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 100 {
		all.exchange(snapshotOf(t, nil, "hub.local"))
	}
	close(done)
	calling.Wait()
	all.Load().release()
	used.Range(func(g, _ any) bool {
		if users := g.(*snapshot).users.Load(); users != 0 {
			t.Errorf("a snapshot still has %d users", users)
		}
		return true
	})
}
