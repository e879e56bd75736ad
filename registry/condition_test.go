package registry_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"image-cri-shim/registry"
)

// lookupEvents collects the events of Options.OnLookup.
type lookupEvents struct {
	mu      sync.Mutex
	lookups []registry.LookupEvent
}

func (t *lookupEvents) add(l registry.LookupEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lookups = append(t.lookups, l)
}

func (t *lookupEvents) take() []registry.LookupEvent {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.lookups
	t.lookups = nil
	return taken
}

func condition(t *testing.T, set *registry.Set) registry.Condition {
	t.Helper()
	conditions := set.Conditions()
	if len(conditions) != 1 {
		t.Fatalf("%d conditions, want 1: %+v", len(conditions), conditions)
	}
	return conditions[0]
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v", what, testTimeout)
		case <-time.After(time.Millisecond):
		}
	}
}

// TestConditions follows a registry that is asked, goes down and comes back.
func TestConditions(t *testing.T) {
	t.Parallel()
	server := serveSickly(t, anything)
	changes := make(chan change, 10)
	lookups := &lookupEvents{}
	set := newSet(t, registry.Options{
		LookupTimeout: time.Second,
		Registries:    []registry.Config{{Address: server.URL, Priority: 7}},
		OnBreaker:     func(registry string, open bool, reason string) { changes <- change{registry, open, reason} },
		OnLookup:      lookups.add,
	})
	if got, want := condition(t, set), (registry.Condition{Registry: server.URL, Priority: 7}); got != want {
		t.Errorf("before anything: %+v, want %+v", got, want)
	}

	begun := time.Now()
	findOne(t, set, "nginx:1.25")
	findOne(t, set, "nginx:1.25")
	findOne(t, set, "nginx:gone")
	got := condition(t, set)
	if got.Hits != 1 || got.Misses != 2 || got.CacheEntries != 2 || got.Lookups != 0 || got.Down || !got.Since.IsZero() {
		t.Errorf("after two lookups and one answer from the cache: %+v", got)
	}
	if got.Connections != 1 {
		t.Errorf("%d connections, want the idle one", got.Connections)
	}
	if got.Answered.Before(begun) || got.Answered.After(time.Now()) || got.Latency <= 0 || got.Latency > time.Since(begun) {
		t.Errorf("answered at %v in %v", got.Answered, got.Latency)
	}
	wantTold(t, lookups.take(),
		"library/nginx:1.25 found  false", "library/nginx:1.25 found  true", "library/nginx:gone absent  false")

	server.falls(hangUp)
	findOne(t, set, "nginx:1.26")
	opening := receive(t, changes, "opening")
	findOne(t, set, "nginx:1.26")
	answered := got.Answered
	got = condition(t, set)
	if !got.Down || got.Reason != opening.reason || got.Since.Before(begun) || got.Answered != answered {
		t.Errorf("down: %+v", got)
	}
	if got.Hits != 1 || got.Misses != 3 {
		t.Errorf("a lookup with an open circuit was counted: %+v", got)
	}
	wantTold(t, lookups.take(), "library/nginx:1.26 could not ask connection false", "library/nginx:1.26 could not ask circuit true")

	server.recovers()
	receive(t, changes, "closing")
	eventually(t, "the circuit is closed", func() bool { got := condition(t, set); return !got.Down && got.Reason == "" })
	if back := condition(t, set); !back.Since.After(got.Since) {
		t.Errorf("back: %+v", back)
	}

	server.CloseClientConnections()
	eventually(t, "no connection is left", func() bool { return condition(t, set).Connections == 0 })
}

// wantTold compares the events as "REPOSITORY:TAG STATE REASON CACHED".
func wantTold(t *testing.T, lookups []registry.LookupEvent, want ...string) {
	t.Helper()
	var got []string
	for _, l := range lookups {
		_, image, _ := strings.Cut(l.Reference, "/")
		cached := " false"
		if l.Cached {
			cached = " true"
		}
		got = append(got, image+" "+l.State.String()+" "+string(l.Reason)+cached)
		if (l.Duration > 0) == l.Cached || !strings.HasSuffix(l.Registry, strings.TrimSuffix(l.Reference, "/"+image)) {
			t.Errorf("unexpected event %+v", l)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// TestLookupReasons has a cause for each reason that a test can produce.
func TestLookupReasons(t *testing.T) {
	plain := serve(t, newStorage())
	for _, test := range []struct {
		config registry.Config
		want   registry.Reason
	}{
		{registry.Config{Address: "http://no.such.host.invalid:5000"}, registry.ReasonName},
		{registry.Config{Address: "http://" + refusing(t)}, registry.ReasonConnection},
		{registry.Config{Address: "http://" + blackHole(t)}, registry.ReasonTimeout},
		{registry.Config{Address: "https://" + plain.host()}, registry.ReasonTLS},
		{registry.Config{Address: serve(t, status(http.StatusServiceUnavailable)).URL}, registry.ReasonOverloaded},
		{registry.Config{Address: serve(t, status(http.StatusForbidden)).URL}, registry.ReasonRejected},
		{registry.Config{Address: serve(t, status(http.StatusOK)).URL}, registry.ReasonAnswer},
		{registry.Config{Address: plain.URL, AuthFile: "/no/such/file"}, registry.ReasonCredentials},
	} {
		t.Run(string(test.want), func(t *testing.T) {
			t.Parallel()
			lookups := &lookupEvents{}
			set := newSet(t, registry.Options{LookupTimeout: time.Second, Registries: []registry.Config{test.config}, OnLookup: lookups.add})
			answer := findOne(t, set, "nginx:1.25")
			var got []registry.LookupEvent
			eventually(t, "the lookup ends", func() bool { got = append(got, lookups.take()...); return len(got) > 0 })
			if len(got) != 1 || got[0].Reason != test.want || got[0].State != registry.Unknown {
				t.Errorf("events %+v (%v), want %s", got, answer.Err, test.want)
			}
			unasked := test.want == registry.ReasonCredentials
			if c := condition(t, set); (c.Misses == 0) != unasked || c.Hits != 0 {
				t.Errorf("%s: %+v", test.want, c)
			}
			if (got[0].Duration == 0) != unasked {
				t.Errorf("%s took %v", test.want, got[0].Duration)
			}
		})
	}
}

// A lookup that is shared by several callers is reported once.
func TestSharedLookupIsToldOnce(t *testing.T) {
	t.Parallel()
	release, arrived := make(chan struct{}), make(chan struct{}, 10)
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	server := serve(t, on(isManifest, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		contents.ServeHTTP(w, r)
	}, contents))
	lookups := &lookupEvents{}
	set := newSet(t, registry.Options{Registries: []registry.Config{{Address: server.URL}}, OnLookup: lookups.add})
	var waiting sync.WaitGroup
	waiting.Go(func() { find(t, set, "nginx:1.25") })
	receive(t, arrived, "lookup")
	for range 3 {
		waiting.Go(func() { find(t, set, "nginx:1.25") })
	}
	if c := condition(t, set); c.Lookups != 1 || c.Connections != 1 {
		t.Errorf("while it runs: %+v", c)
	}
	close(release)
	waiting.Wait()
	findOne(t, set, "nginx:1.25")
	if c := condition(t, set); c.Lookups != 0 || c.Misses != 1 {
		t.Errorf("afterwards: %+v", c)
	}
	if got := lookups.take(); got[0].Cached || slices.ContainsFunc(got[1:], func(l registry.LookupEvent) bool { return !l.Cached }) {
		t.Errorf("unexpected events %+v", got)
	}
}
