package e2e

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"image-cri-shim/e2e/testbed"
)

// outage says which registries are down.
type outage int32

const (
	// allUp: the private registry serves the shim's runtime, the original registry the other.
	allUp outage = iota
	// privateDown: the original registry serves both runtimes.
	privateDown
	// allDown: no registry serves any request.
	allDown
)

// outages are the states that a run alternates between.
var outages = []outage{allUp, privateDown, allDown}

// modelRegistries are the private registry and the original registry as seen by each runtime.
// All of them have the same images.
type modelRegistries struct {
	private, throughShim, plain *testbed.FaultyRegistry

	outage atomic.Int32
	// open lets the original serve mirrored images to the shim's runtime too, for pulls of the
	// second client. A pull through the shim that reaches the original is a failure.
	open atomic.Bool
}

func newModelRegistries(t *testing.T) *modelRegistries {
	t.Helper()
	r := &modelRegistries{}
	unavailable := func(response http.ResponseWriter) { response.WriteHeader(http.StatusServiceUnavailable) }
	r.private = startFaultyRegistry(t, func(response http.ResponseWriter, request *http.Request, next http.Handler) {
		switch {
		case r.state() != allUp:
			unavailable(response)
		case strings.Contains(request.URL.Path, elsewhere):
			response.WriteHeader(http.StatusNotFound)
		default:
			next.ServeHTTP(response, request)
		}
	})
	r.throughShim = startFaultyRegistry(t, func(response http.ResponseWriter, request *http.Request, next http.Handler) {
		switch {
		case r.state() == allDown:
			unavailable(response)
		case r.state() == allUp && !r.open.Load() && !strings.Contains(request.URL.Path, elsewhere):
			response.WriteHeader(http.StatusNotFound)
		default:
			next.ServeHTTP(response, request)
		}
	})
	r.plain = startFaultyRegistry(t, func(response http.ResponseWriter, request *http.Request, next http.Handler) {
		if r.state() == allDown {
			unavailable(response)
			return
		}
		next.ServeHTTP(response, request)
	})
	return r
}

func (r *modelRegistries) state() outage { return outage(r.outage.Load()) }

// push moves or creates a tag in all registries.
func (r *modelRegistries) push(t *testing.T, repository string, image testbed.ImageOrIndex) {
	t.Helper()
	for _, registry := range []*testbed.FaultyRegistry{r.private, r.throughShim, r.plain} {
		if err := registry.Push(testContext(t), repository, image); err != nil {
			t.Fatal(err)
		}
	}
}
