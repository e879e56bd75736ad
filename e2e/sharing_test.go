package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// lookupRecorder records the shim's own requests to a registry.
type lookupRecorder struct {
	mutex     sync.Mutex
	manifests map[string]int // lookups by path
	running   int            // requests in progress, each on its own connection
	most      int            // maximum of running
}

func (a *lookupRecorder) record(response http.ResponseWriter, request *http.Request, next http.Handler) {
	if strings.HasPrefix(request.UserAgent(), "image-cri-shim") {
		a.mutex.Lock()
		a.running++
		a.most = max(a.most, a.running)
		if strings.Contains(request.URL.Path, "/manifests/") {
			a.manifests[request.URL.Path]++
		}
		a.mutex.Unlock()
		defer func() {
			a.mutex.Lock()
			a.running--
			a.mutex.Unlock()
		}()
		testbed.Slow(50*time.Millisecond)(response, request, next) // so that requests overlap
		return
	}
	next.ServeHTTP(response, request)
}

// TestPullsShareLookups pulls like a node that starts all its pods at once. Each name must be
// looked up once, over few connections.
func TestPullsShareLookups(t *testing.T) {
	const pulls, names = 110, 30
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		observed := &lookupRecorder{manifests: map[string]int{}}
		registry := testbed.StartFaultyRegistry(observed.record, nil)
		t.Cleanup(registry.Close)
		image, err := testbed.Image("of many names")
		if err != nil {
			t.Fatal(err)
		}
		for i := range names {
			if err := registry.Push(testContext(t), fmt.Sprintf("team/app-%d:1", i), image); err != nil {
				t.Fatal(err)
			}
		}
		want := hash(t, image.ConfigName)
		n := newNode(t, runtime, "address: "+registry.Address()+"\nlookupTimeout: 30s\n")
		var running sync.WaitGroup
		for i := range pulls {
			running.Go(func() {
				name := fmt.Sprintf("docker.io/team/app-%d:1", i%names)
				got, err := n.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: name}, nil, nil)
				if err != nil || got != want {
					t.Errorf("pull %s: got %s, %v, want %s", name, got, err, want)
				}
			})
		}
		running.Wait()
		observed.mutex.Lock()
		defer observed.mutex.Unlock()
		if len(observed.manifests) != names {
			t.Errorf("%d names were looked up, want %d", len(observed.manifests), names)
		}
		for path, count := range observed.manifests {
			if count != 1 {
				t.Errorf("%d lookups of %s", count, path)
			}
		}
		// Go sometimes replaces a connection, so only concurrent connections are
		// limited.
		if observed.most > 4 {
			t.Errorf("%d concurrent connections, want at most 4", observed.most)
		}
		t.Logf("%d pulls of %d names: %d lookups over %d connections", pulls, names, len(observed.manifests), observed.most)
	})
}
