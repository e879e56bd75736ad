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

// lookupRecorder records a registry's requests from the shim itself.
type lookupRecorder struct {
	mutex     sync.Mutex
	manifests map[string]int // look-ups by path
	running   int            // requests, each of which has a connection to itself
	most      int            // of them at once
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
		testbed.Slow(50*time.Millisecond)(response, request, next) // so that they meet
		return
	}
	next.ServeHTTP(response, request)
}

// TestPullsShareLookups pulls as a node does that starts with all its pods at
// once: each name is looked up once, over few connections.
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
				t.Errorf("%d look-ups of %s", count, path)
			}
		}
		// Go drops a connection now and then, so that there may be more one after
		// another.
		if observed.most > 4 {
			t.Errorf("%d connections at once, want 4 at most", observed.most)
		}
		t.Logf("%d pulls of %d names: %d look-ups over %d connections", pulls, names, len(observed.manifests), observed.most)
	})
}
