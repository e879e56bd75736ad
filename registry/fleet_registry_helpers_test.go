package registry_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	roundTrip     = 20 * time.Millisecond
	tokenLifetime = 5 * time.Minute // of Docker Hub; Harbor's tokens live for 30 minutes
)

// load counts requests.
type load struct {
	manifests int // answered requests for manifests: the lookups
	tokens    int // requests at the token server
	other     int // requests without a login, at the root of the API, and of the runtime
}

func (l load) requests() int { return l.manifests + l.tokens + l.other }

// fleetRegistry is a registry with a token server that has all images. It counts the requests
// of each second and of each node.
type fleetRegistry struct {
	mu      sync.Mutex
	begun   time.Time
	down    bool
	seconds []load
	nodes   []load
}

func newFleetRegistry(nodes int) *fleetRegistry {
	return &fleetRegistry{begun: time.Now(), nodes: make([]load, nodes)}
}

// reset begins a new measurement.
func (r *fleetRegistry) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun, r.seconds = time.Now(), nil
	clear(r.nodes)
}

func (r *fleetRegistry) setDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

// count counts requests of a node.
func (r *fleetRegistry) count(node int, add func(*load)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	second := int(time.Since(r.begun) / time.Second)
	for len(r.seconds) <= second {
		r.seconds = append(r.seconds, load{})
	}
	add(&r.seconds[second])
	add(&r.nodes[node])
}

// measured is the load of a period.
type measured struct {
	load
	peak      int     // requests in the busiest second
	perNode   float64 // lookups of a node and minute
	busiest   float64 // lookups of the busiest node, a minute
	perSecond float64 // mean requests a second
}

func (r *fleetRegistry) measure() (m measured) {
	r.mu.Lock()
	defer r.mu.Unlock()
	period := time.Since(r.begun)
	for _, second := range r.seconds {
		m.manifests += second.manifests
		m.tokens += second.tokens
		m.other += second.other
		m.peak = max(m.peak, second.requests())
	}
	most := slices.MaxFunc(r.nodes, func(a, b load) int { return a.manifests - b.manifests })
	m.perNode = float64(m.manifests) / float64(len(r.nodes)) / period.Minutes()
	m.busiest = float64(most.manifests) / period.Minutes()
	m.perSecond = float64(m.requests()) / period.Seconds()
	return m
}

func (m measured) String() string {
	return fmt.Sprintf("%d requests: %d look-ups, %d tokens, %d others; peak %d/s, mean %.0f/s; look-ups of a node and minute: mean %.2f, at most %.2f",
		m.requests(), m.manifests, m.tokens, m.other, m.peak, m.perSecond, m.perNode, m.busiest)
}

// from is the connection of a node to the registry.
type from struct {
	registry *fleetRegistry
	node     int
}

// RoundTrip implements [http.RoundTripper].
func (f from) RoundTrip(request *http.Request) (*http.Response, error) {
	path, hasLogin := request.URL.Path, request.Header.Get("Authorization") != ""
	isManifest := hasLogin && strings.Contains(path, "/manifests/")
	f.registry.count(f.node, func(l *load) {
		switch {
		case isManifest:
			l.manifests++
		case path == "/token":
			l.tokens++
		default:
			l.other++
		}
	})
	select {
	case <-time.After(roundTrip):
	case <-request.Context().Done():
		return nil, request.Context().Err()
	}
	f.registry.mu.Lock()
	down := f.registry.down
	f.registry.mu.Unlock()
	response := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: request}
	switch {
	case down:
		return nil, errors.New("connection refused")
	case path == "/token":
		response.Body = io.NopCloser(strings.NewReader(fmt.Sprintf(`{"token":"token","expires_in":%d}`, int(tokenLifetime.Seconds()))))
	case !hasLogin:
		response.StatusCode = http.StatusUnauthorized
		response.Header.Set("WWW-Authenticate", `Bearer realm="https://hub.example.com/token",service="hub.example.com"`)
	case isManifest:
		response.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		response.Header.Set("Docker-Content-Digest", fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(path))))
	}
	return response, nil
}
