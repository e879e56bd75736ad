package e2e

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// hangingRegistry is the preferred registry for nginx. While it hangs, it does not answer
// requests for blobs.
type hangingRegistry struct {
	hangs         atomic.Bool
	blobRequested chan struct{} // receives a value for each unanswered request
	lookups       atomic.Int64  // requests from the shim
	id            string        // of its image nginx:1.25
}

func (h *hangingRegistry) answer(response http.ResponseWriter, request *http.Request, next http.Handler) {
	switch {
	case strings.HasPrefix(request.UserAgent(), "image-cri-shim") && strings.Contains(request.URL.Path, "/manifests/"):
		h.lookups.Add(1)
	case strings.Contains(request.URL.Path, "/blobs/") && h.hangs.Load():
		select {
		case h.blobRequested <- struct{}{}:
		default:
		}
		testbed.Hang(response, request, next)
		return
	}
	next.ServeHTTP(response, request)
}

// newHangingNode starts a node whose preferred registry hangs. Another registry and the
// original come after it.
func newHangingNode(t *testing.T, runtime runtime) (*node, *hangingRegistry) {
	t.Helper()
	h := &hangingRegistry{blobRequested: make(chan struct{}, 1)}
	h.hangs.Store(true)
	registry := testbed.StartFaultyRegistry(h.answer, nil)
	t.Cleanup(registry.Close)
	image, err := testbed.SmallImage("of " + t.Name()) // its blobs are not in any runtime yet
	if err != nil {
		t.Fatal(err)
	}
	if err := registry.Push(testContext(t), "library/nginx:1.25", image); err != nil {
		t.Fatal(err)
	}
	h.id = hash(t, image.ConfigName)
	return newNode(t, runtime, privateConfiguration()+"offlinePriority: 100\nregistries:\n- address: "+registry.Address()+"\n  match: docker.io/library/nginx\n"), h
}

// rawPull pulls nginx:1.25 and returns the error as received on the wire.
func (n *node) rawPull(t *testing.T) error {
	t.Helper()
	request := &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: "nginx:1.25"}, Auth: callerLogin}
	_, err := runtimeapi.NewImageServiceClient(n.through.Connection).PullImage(testContext(t), request)
	return err
}

// wantStillPreferred requires that the image was not pulled from another registry, and that
// the next pull comes from this registry without another lookup.
func (h *hangingRegistry) wantStillPreferred(t *testing.T, n *node) {
	t.Helper()
	wantNotAsked(t)
	if requests := shared.private.Requests(); slices.ContainsFunc(requests, func(r testbed.Request) bool { return r.Method == http.MethodGet && r.Path != "/v2/" }) {
		t.Errorf("the image was pulled from the next registry: %+v", requests)
	}
	if got := n.status(t, n.through, "nginx:1.25"); got != nil {
		t.Errorf("nginx:1.25 exists: %v", got)
	}
	h.hangs.Store(false)
	if got := n.pull(t, n.through, "nginx:1.25", callerLogin); got != h.id {
		t.Errorf("the next pull got image %s, want %s", got, h.id)
	}
	if got := h.lookups.Load(); got != 1 {
		t.Errorf("%d lookups, want only the first pull's", got)
	}
}

// runtimeEndings are functions that end a runtime. When it starts again, its socket is a new
// file.
func runtimeEndings(runtime runtime) map[string]func() {
	return map[string]func(){"killed": runtime.Kill, "stopped": runtime.Stop}
}

// TestRuntimeEndsDuringAPull requires the error of an unavailable runtime, as without the
// shim, and that calls succeed once the runtime returns.
func TestRuntimeEndsDuringAPull(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		for name, end := range runtimeEndings(runtime) {
			t.Run(name, func(t *testing.T) {
				n, registry := newHangingNode(t, runtime)
				failed := make(chan error, 1)
				go func() { failed <- n.rawPull(t) }()
				select {
				case <-registry.blobRequested:
				case err := <-failed:
					t.Fatalf("the pull does not hang: %v", err)
				}
				end()
				err := <-failed
				if startErr := runtime.Start(testContext(t)); startErr != nil {
					t.Fatal(startErr)
				}
				if status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), "image-cri-shim") {
					t.Errorf("got %v, want the same Unavailable as without the shim", err)
				}
				n.eventuallyServes(t)
				registry.wantStillPreferred(t, n)
			})
		}
	})
}

// TestRuntimeStarting uses a runtime that listens on the socket and rejects all calls while it
// starts.
func TestRuntimeStarting(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n, registry := newHangingNode(t, runtime)
		runtime.Kill()
		starting, err := testbed.StartUnavailableRuntime(testContext(t), runtime.Socket())
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, func() string {
			if err := n.rawPull(t); status.Code(err) != codes.Unavailable || status.Convert(err).Message() != testbed.NotInitialized {
				return "got " + status.Convert(err).String() + ", want the runtime's own words"
			}
			return ""
		})
		starting.Stop()
		if err := runtime.Start(testContext(t)); err != nil {
			t.Fatal(err)
		}
		n.eventuallyServes(t)
		registry.wantStillPreferred(t, n)
	})
}

// eventuallyServes waits until calls through the shim reach the runtime again.
func (n *node) eventuallyServes(t *testing.T) {
	t.Helper()
	eventually(t, func() string {
		_, err := n.through.Images.ListImages(testContext(t), nil)
		if err != nil {
			return "after the runtime's return: " + err.Error()
		}
		return ""
	})
}
