package registry_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"image-cri-shim/registry"
)

// of selects the requests for a repository's manifests.
func of(repository string) func(*http.Request) bool {
	return func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v2/"+repository+"/manifests/") }
}

// wantClosed requires that no circuit of a registry has changed.
func wantClosed(t *testing.T, changes <-chan change) {
	t.Helper()
	select {
	case got := <-changes:
		t.Errorf("changes of the breaker: %+v", got)
	default:
	}
}

// After failed lookups a repository is not asked for a while. Other repositories of the
// registry are.
func TestFaultOfOneRepository(t *testing.T) {
	for _, test := range []struct {
		name     string
		illness  http.HandlerFunc
		failures int // failed lookups until the repository is not asked any more
		reason   string
	}{
		{"no answer", hangUp, 1, "EOF"},
		{"timeout", hang, 1, "no answer within 1s"},
		{"server errors", status(http.StatusInternalServerError), 3, "500 Internal Server Error"},
		{"too many requests", status(http.StatusTooManyRequests), 3, "429 Too Many Requests"},
		{"too many requests, with the time to wait", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}, 1, "429 Too Many Requests"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := serveSickly(t, of("library/nginx"))
			set, changes := watched(t, server.URL)
			findOne(t, set, "nginx:1.25")
			server.falls(test.illness)
			for i := range test.failures {
				if answer := findOne(t, set, "nginx:1.26"); answer.State != registry.Unknown || answer.Cached || !strings.Contains(fmt.Sprint(answer.Err), test.reason) {
					t.Errorf("lookup %d: %v, cached %v (%v), want one that fails", i+1, answer.State, answer.Cached, answer.Err)
				}
				if answer := findOne(t, set, fmt.Sprintf("app:%d", i)); answer.State != registry.Absent || answer.Cached {
					t.Errorf("another repository: %v, cached %v (%v), want it absent", answer.State, answer.Cached, answer.Err)
				}
			}
			asked := server.count("")
			for _, image := range []string{"nginx:1.26", "nginx:1.27"} {
				answer := findOne(t, set, image)
				text := fmt.Sprint(answer.Err)
				if answer.State != registry.Unknown || !answer.Cached || !strings.HasPrefix(text, "this repository is not asked until ") || !strings.Contains(text, test.reason) {
					t.Errorf("%s: %v, cached %v (%v), want it withheld", image, answer.State, answer.Cached, answer.Err)
				}
			}
			if answer := findOne(t, set, "nginx:1.25"); answer.State != registry.Found || !answer.Cached {
				t.Errorf("%v, cached %v (%v), want what was found before", answer.State, answer.Cached, answer.Err)
			}
			if got := server.count(""); got != asked {
				t.Errorf("%d requests while the repository's circuit was open", got-asked)
			}
			if down := set.RuleResults(parse(t, "nginx:1.26"))[0].Down; !strings.Contains(down, test.reason) {
				t.Errorf("the result has Down %q", down)
			}
			if down := set.RuleResults(parse(t, "app:1"))[0].Down; down != "" {
				t.Errorf("the result for another repository has Down %q", down)
			}
			server.recovers()
			for deadline := time.Now().Add(testTimeout); findOne(t, set, "nginx:1.26").State != registry.Found; {
				if time.Now().After(deadline) {
					t.Fatal("it was not asked again")
				}
				time.Sleep(10 * time.Millisecond)
			}
			wantClosed(t, changes)
		})
	}
}

// Both forms of Retry-After set the delay of the repository.
func TestRetryAfter(t *testing.T) {
	for _, after := range []string{"3600", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)} {
		for _, at := range []string{"/manifests/", "/token"} {
			server := serve(t, on(func(r *http.Request) bool {
				return strings.Contains(r.URL.Path, at) && !strings.Contains(r.URL.Path, "app")
			}, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", after)
				w.WriteHeader(http.StatusTooManyRequests)
			}, withTokens(newStorage(), false)))
			set := newSetOf(t, server.URL)
			findOne(t, set, "nginx:1.25")
			asked := server.count("")
			for i := range 5 {
				if answer := findOne(t, set, fmt.Sprintf("nginx:%d", i)); !answer.Cached || !strings.Contains(fmt.Sprint(answer.Err), "429 Too Many Requests") {
					t.Errorf("%v, cached %v (%v), want it withheld", answer.State, answer.Cached, answer.Err)
				}
			}
			if got := server.count(""); got != asked {
				t.Errorf("Retry-After: %s at %s: %d requests", after, at, got-asked)
			}
		}
	}
}

// If lookups in several repositories get no answer, and no other lookup is answered, the
// registry counts as down even if its API root answers.
func TestFaultOfTwoRepositories(t *testing.T) {
	t.Parallel()
	server := serveSickly(t, isManifest)
	set, changes := watched(t, server.URL)
	server.falls(hang)
	findOne(t, set, "nginx:1.26")
	wantClosed(t, changes)
	findOne(t, set, "app:1")
	if got := receive(t, changes, "opening"); !got.open || !strings.Contains(got.reason, "no answer within 1s") {
		t.Errorf("changes of the breaker: %+v", got)
	}
}

// A ping can find out that the registry is up although hanging lookups occupy all slots.
func TestCheckBesideLookupsThatHang(t *testing.T) {
	t.Parallel()
	server := serveSickly(t, of("library/nginx"))
	set, changes := watched(t, server.URL)
	server.falls(hang)
	for i := range 4 {
		begin(t, set, fmt.Sprintf("nginx:%d", i))
	}
	for i := range 4 {
		if answer := finally(t, set, fmt.Sprintf("nginx:%d", i))[0]; answer.State != registry.Unknown {
			t.Errorf("%v, want it unknown", answer.State)
		}
	}
	if answer := findOne(t, set, "app:1"); answer.State != registry.Absent {
		t.Errorf("%v (%v), want it absent", answer.State, answer.Err)
	}
	wantClosed(t, changes)
}

// Repositories that hang, are overloaded or fail do not affect lookups in healthy ones under
// concurrent load.
func TestMixedLoad(t *testing.T) {
	t.Parallel()
	contents := newStorage()
	for i := range 8 {
		contents.push(t, fmt.Sprintf("healthy/app%d:1", i))
	}
	server := serve(t, on(of("sick/hangs"), hang, on(of("sick/limited"), status(http.StatusTooManyRequests), on(of("sick/broken"), status(http.StatusInternalServerError), contents))))
	set := newSet(t, registry.Options{
		LookupTimeout: 2 * time.Second, FoundTTL: 1, Registries: []registry.Config{{Address: server.URL}},
		OnBreaker: func(_ string, open bool, reason string) { t.Errorf("circuit open: %v, %s", open, reason) },
	})
	var sick, healthy sync.WaitGroup
	var ended atomic.Bool
	for _, repository := range []string{"hangs", "limited", "broken"} {
		sick.Go(func() {
			for i := 0; !ended.Load(); i++ {
				findOne(t, set, fmt.Sprintf("sick/%s:%d", repository, i))
				time.Sleep(time.Millisecond)
			}
		})
	}
	begun := time.Now()
	for i := range 8 {
		healthy.Go(func() {
			for time.Since(begun) < 2*time.Second {
				if answer := findOne(t, set, fmt.Sprintf("healthy/app%d:1", i)); answer.State != registry.Found {
					t.Errorf("%v (%v), want it found", answer.State, answer.Err)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	healthy.Wait()
	ended.Store(true)
	sick.Wait()
}

// Cached answers of a registry that is down come after the answers of others.
func TestRememberedOfARegistryThatIsDown(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	first, second := serveSickly(t, anything), serve(t, contents)
	set := newSet(t, registry.Options{Registries: []registry.Config{{Address: first.URL}, {Address: second.URL}}})
	names := map[string]string{first.URL: "first", second.URL: "second"}
	brief(t, set, "nginx:1.25", names)
	first.falls(hangUp)
	find(t, set, "app:1")
	answers := find(t, set, "nginx:1.25")
	if answers[0].Registry != second.URL || answers[1].State != registry.Found || answers[1].Postponed != "comes later: the registry is down" {
		t.Errorf("answers %+v", answers)
	}
}
