package registry_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"image-cri-shim/registry"
)

// change records the arguments of Options.OnBreaker.
type change struct {
	registry string
	open     bool
	reason   string
}

// sickly is a registry with a fault that can be switched. The fault handles all requests, or
// only those for manifests.
type sickly struct {
	*server
	illness atomic.Pointer[http.HandlerFunc]
}

func serveSickly(t *testing.T, only func(*http.Request) bool) *sickly {
	t.Helper()
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	contents.push(t, "library/nginx:1.26")
	s := &sickly{}
	s.server = serve(t, on(func(r *http.Request) bool { return s.illness.Load() != nil && only(r) },
		func(w http.ResponseWriter, r *http.Request) { (*s.illness.Load())(w, r) }, contents))
	return s
}

func (s *sickly) falls(ill http.HandlerFunc) { s.illness.Store(&ill) }
func (s *sickly) recovers()                  { s.illness.Store(nil) }

func anything(*http.Request) bool { return true }

// hangUp closes the connection without a response.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// hang sends no response while the client waits.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// watched returns a set of one registry, and the recorded changes of its breaker.
func watched(t *testing.T, address string) (*registry.Set, <-chan change) {
	t.Helper()
	changes := make(chan change, 10)
	set := newSet(t, registry.Options{
		LookupTimeout: time.Second,
		Registries:    []registry.Config{{Address: address}},
		OnBreaker:     func(registry string, open bool, reason string) { changes <- change{registry, open, reason} },
	})
	return set, changes
}

func TestBreaker(t *testing.T) {
	tests := []struct {
		name     string
		illness  http.HandlerFunc
		failures int // failed lookups until the circuit opens
		reason   string
	}{
		{"no answer", hangUp, 1, "EOF"},
		{"timeout", hang, 1, "no answer within 1s"},
		{"server errors", status(http.StatusInternalServerError), 3, "500 Internal Server Error"},
		{"gateway without a backend", status(http.StatusBadGateway), 3, "502 Bad Gateway"},
		{"too many requests", status(http.StatusTooManyRequests), 3, "429 Too Many Requests"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := serveSickly(t, anything)
			set, changes := watched(t, server.URL)
			if answer := findOne(t, set, "nginx:1.25"); answer.State != registry.Found {
				t.Fatalf("%v (%v), want it found while the registry is up", answer.State, answer.Err)
			}
			findOne(t, set, "nginx:gone")

			server.falls(test.illness)
			for i := range test.failures {
				if answer := findOne(t, set, "nginx:1.26"); answer.State != registry.Unknown || answer.Cached {
					t.Errorf("lookup %d: %v, cached %v (%v), want one that fails", i+1, answer.State, answer.Cached, answer.Err)
				}
			}
			if got := receive(t, changes, "opening"); !got.open || got.registry != server.URL || !strings.Contains(got.reason, test.reason) {
				t.Errorf("changes of the breaker: %+v", got)
			}

			asked := server.count("")
			answer := findOne(t, set, "nginx:1.26")
			if answer.State != registry.Unknown || !answer.Cached || answer.Duration != 0 {
				t.Errorf("%v, cached %v, after %v: want it unknown at once", answer.State, answer.Cached, answer.Duration)
			}
			if text := fmt.Sprint(answer.Err); !strings.HasPrefix(text, "known to be down since ") || !strings.Contains(text, test.reason) {
				t.Errorf("error %q, want since when and why", text)
			}
			if answer := findOne(t, set, "nginx:1.25"); answer.State != registry.Found || !answer.Cached {
				t.Errorf("%v, cached %v (%v): want what was found before", answer.State, answer.Cached, answer.Err)
			}
			if answer := findOne(t, set, "nginx:gone"); answer.State != registry.Absent || !answer.Cached || answer.Err != nil {
				t.Errorf("%v, cached %v (%v): want what was absent before", answer.State, answer.Cached, answer.Err)
			}
			if got := server.count(""); got != asked {
				t.Errorf("%d requests while the circuit was open", got-asked)
			}

			server.recovers()
			if got := receive(t, changes, "closing"); got.open {
				t.Errorf("changes of the breaker: %+v", got)
			}
			if answer := findOne(t, set, "nginx:1.26"); answer.State != registry.Found {
				t.Errorf("%v (%v), want it found after the return", answer.State, answer.Err)
			}
			if answer := findOne(t, set, "nginx:1.25"); answer.State != registry.Found || !answer.Cached {
				t.Errorf("%v, cached %v: want what was found before", answer.State, answer.Cached)
			}
		})
	}
}

// The circuit of a registry that does not answer opens after the first lookup, for all
// repositories.
func TestFirstTimeoutIsTheLast(t *testing.T) {
	set, _ := watched(t, "http://"+blackHole(t))
	if answer := findOne(t, set, "nginx:1.25"); answer.Cached || fmt.Sprint(answer.Err) != "no answer within 1s" {
		t.Errorf("%v, cached %v (%v)", answer.State, answer.Cached, answer.Err)
	}
	if answer := findOne(t, set, "app:1"); !answer.Cached || !strings.HasPrefix(fmt.Sprint(answer.Err), "known to be down since ") {
		t.Errorf("the next one: %v, cached %v (%v)", answer.State, answer.Cached, answer.Err)
	}
}

// A failed probe keeps the circuit open.
func TestBreakerStaysOpen(t *testing.T) {
	t.Parallel()
	server := serveSickly(t, anything)
	set, changes := watched(t, server.URL)
	server.falls(hangUp)
	findOne(t, set, "nginx:1.25")
	receive(t, changes, "opening")

	probed := make(chan struct{}, 10)
	server.falls(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		probed <- struct{}{}
	})
	receive(t, probed, "first probe")
	receive(t, probed, "second probe")
	select {
	case got := <-changes:
		t.Errorf("changes of the breaker: %+v after probes that failed", got)
	default:
	}
	if answer := findOne(t, set, "nginx:1.25"); !answer.Cached {
		t.Errorf("%v (%v): it was asked", answer.State, answer.Err)
	}
}

// A registry that answers is up, even if it refuses requests.
func TestBreakerStaysClosed(t *testing.T) {
	for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusBadRequest} {
		t.Run(http.StatusText(code), func(t *testing.T) {
			t.Parallel()
			server := serveSickly(t, isManifest)
			set, changes := watched(t, server.URL)
			server.falls(status(code))
			for i := range 5 {
				findOne(t, set, fmt.Sprintf("app:%d", i))
			}
			if got := server.count(http.MethodHead); got != 5 { // and GET, where HEAD is refused
				t.Errorf("%d requests for 5 lookups", got)
			}
			select {
			case got := <-changes:
				t.Errorf("changes of the breaker: %+v", got)
			default:
			}
		})
	}
}

// Only consecutive overloads open the circuit.
func TestBreakerForgivesSingleErrors(t *testing.T) {
	t.Parallel()
	server := serveSickly(t, isManifest)
	set, changes := watched(t, server.URL)
	for i, code := range []int{500, 500, 404, 500, 500, 403, 500, 500} {
		server.falls(status(code))
		if answer := findOne(t, set, fmt.Sprintf("app:%d", i)); answer.Cached {
			t.Errorf("lookup %d was withheld: %v", i, answer.Err)
		}
	}
	select {
	case got := <-changes:
		t.Errorf("changes of the breaker: %+v", got)
	default:
	}
}

// Each registry has its own breaker.
func TestBreakerIsPerRegistry(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	server := serve(t, contents)
	set := newSet(t, registry.Options{Registries: []registry.Config{
		{Address: "http://" + refusing(t)}, {Address: server.URL},
	}})
	find(t, set, "httpd")
	answers := find(t, set, "nginx:1.25")
	if !answers[0].Cached || answers[1].State != registry.Found || answers[1].Cached {
		t.Errorf("%v, cached %v, and %v, cached %v: want the first alone withheld",
			answers[0].State, answers[0].Cached, answers[1].State, answers[1].Cached)
	}
}

// Closing the set stops the probes at once.
func TestCloseEndsProbes(t *testing.T) {
	set, changes := watched(t, "http://"+blackHole(t))
	findOne(t, set, "nginx")
	receive(t, changes, "opening")
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		set.Close()
	}()
	receive(t, closed, "end")
}

// Closing the set waits for its background work.
func TestCloseWaits(t *testing.T) {
	var ended atomic.Bool
	begun, release := make(chan struct{}), make(chan struct{})
	set := newSet(t, registry.Options{
		Registries: []registry.Config{{Address: "http://" + refusing(t)}},
		OnBreaker: func(string, bool, string) {
			close(begun)
			<-release
			time.Sleep(50 * time.Millisecond) // a Close that does not wait is over by now
			ended.Store(true)
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range set.Find(ctx, parse(t, "nginx")) {
		receive(t, begun, "opening")
	}
	close(release)
	set.Close()
	if !ended.Load() {
		t.Error("a lookup was still running after Close")
	}
}
