package registry_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"image-cri-shim/registry"
)

// begin starts the lookups of an image and returns the answers without waiting.
func begin(t *testing.T, set *registry.Set, image string) []registry.Answer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return slices.Collect(set.Find(ctx, parse(t, image)))
}

// finally returns the answers for an image once all lookups have ended.
func finally(t *testing.T, set *registry.Set, image string) []registry.Answer {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); ; {
		answers := find(t, set, image)
		if !slices.ContainsFunc(answers, func(a registry.Answer) bool { return strings.Contains(fmt.Sprint(a.Err), "lookup continues") }) {
			return answers
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: no answer within %v", image, testTimeout)
		}
	}
}

// Many concurrent lookups in a healthy registry must not look like an outage.
func TestManyLookups(t *testing.T) {
	t.Parallel()
	const names, delay, lookupTimeout = 20, 250 * time.Millisecond, 2 * time.Second // 40 lookups take 2.5 s
	contents := newStorage()
	var running, most atomic.Int64
	server := serve(t, on(isManifest, func(w http.ResponseWriter, r *http.Request) {
		now := running.Add(1)
		defer running.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		time.Sleep(delay) // the registry is slow
		contents.ServeHTTP(w, r)
	}, contents))
	set := newSet(t, registry.Options{
		LookupTimeout: lookupTimeout,
		Registries:    []registry.Config{{Address: server.URL}, {Address: server.URL + "/mirror"}},
		OnBreaker:     func(_ string, open bool, reason string) { t.Errorf("circuit open: %v, %s", open, reason) },
	})
	for i := range names {
		begin(t, set, fmt.Sprintf("app:%d", i))
	}
	for i := range names {
		for _, answer := range finally(t, set, fmt.Sprintf("app:%d", i)) {
			if answer.State != registry.Absent {
				t.Errorf("%s: %v (%v), want it absent", answer.Reference, answer.State, answer.Err)
			}
		}
	}
	if got := server.count(""); got != 2*names {
		t.Errorf("%d requests for %d lookups", got, 2*names)
	}
	if got := most.Load(); got > 4 {
		t.Errorf("%d concurrent lookups on one host", got)
	}
}

// Lookups that wait for a slot of a registry end as soon as the registry goes down.
func TestQueueOfRegistryThatGoesDown(t *testing.T) {
	const names, running = 20, 4
	handler, asked, open := gate(http.HandlerFunc(hangUp))
	defer open()
	server := serve(t, on(isManifest, handler.ServeHTTP, newStorage()))
	set := newSet(t, registry.Options{LookupTimeout: testTimeout, Registries: []registry.Config{{Address: server.URL}}})
	for i := range names {
		begin(t, set, fmt.Sprintf("app:%d", i))
	}
	answers := make(chan registry.Answer, names)
	var users sync.WaitGroup
	for i := range names {
		users.Go(func() { answers <- findOne(t, set, fmt.Sprintf("app:%d", i)) })
	}
	for range running {
		receive(t, asked, "request")
	}
	open()
	users.Wait()
	close(answers)
	for answer := range answers {
		if answer.State != registry.Unknown || strings.Contains(fmt.Sprint(answer.Err), "lookup continues") {
			t.Errorf("%v (%v), want it unknown at once", answer.State, answer.Err)
		}
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	manifests := map[string]bool{} // net/http may repeat a request after the connection was closed
	for _, request := range server.requests {
		if strings.Contains(request, "/manifests/") {
			manifests[request] = true
		}
	}
	if len(manifests) != running {
		t.Errorf("asked for %d manifests of a registry that has gone down, want the first %d", len(manifests), running)
	}
}

// The number of lookups that wait for a registry is bounded. They do not block lookups in
// other registries.
func TestQueueIsBounded(t *testing.T) {
	contents, opened := newStorage(), make(chan struct{})
	open := sync.OnceFunc(func() { close(opened) })
	defer open()
	handler := on(isManifest, func(w http.ResponseWriter, r *http.Request) {
		<-opened
		contents.ServeHTTP(w, r)
	}, contents)
	full, other := serve(t, handler), serve(t, newStorage())
	set := newSet(t, registry.Options{LookupTimeout: testTimeout, Registries: []registry.Config{
		{Address: full.URL, Match: []string{"docker.io"}}, {Address: other.URL, Match: []string{"quay.io"}},
	}})
	const limit = 256
	for i := range limit {
		if answer := begin(t, set, fmt.Sprintf("app:%d", i))[0]; strings.Contains(answer.Err.Error(), "already") {
			t.Fatalf("lookup %d was refused: %v", i+1, answer.Err)
		}
	}
	if answer := findOne(t, set, "app:more"); answer.State != registry.Unknown || !strings.Contains(fmt.Sprint(answer.Err), "256 lookups") {
		t.Errorf("%v (%v), want it refused", answer.State, answer.Err)
	}
	if answer := findOne(t, set, "quay.io/app"); answer.State != registry.Absent {
		t.Errorf("%v (%v), want the other registry to be asked", answer.State, answer.Err)
	}
	open()
	for i := range limit {
		if answer := finally(t, set, fmt.Sprintf("app:%d", i))[0]; answer.State != registry.Absent {
			t.Errorf("%v (%v), want it absent", answer.State, answer.Err)
		}
	}
	if answer := findOne(t, set, "app:more"); answer.State != registry.Absent {
		t.Errorf("%v (%v), want it asked when there is room", answer.State, answer.Err)
	}
}
