package page

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

func fromPage(request *http.Request) { request.Header.Set(resolveHeader, "1") }

// TestResolve requires that only the page's script can cause lookups, and only for images
// that the page shows.
func TestResolve(t *testing.T) {
	lookups := 0
	sources := healthySources()
	sources.Resolve = func(_ context.Context, image string) Explanation {
		lookups++
		return Explanation{Rows: []ExplanationRow{{Subject: "pulled as", Reference: image}}}
	}
	p, server := serve(t, sources)
	p.resolver.interval = 0
	p.ObserveDecision(Decision{Asked: "nginx:9"})
	from := func(site, mode string) func(*http.Request) {
		return func(request *http.Request) {
			request.Header.Set("Sec-Fetch-Site", site)
			request.Header.Set("Sec-Fetch-Mode", mode)
		}
	}
	preflight := func(request *http.Request) {
		request.Method = http.MethodOptions
		request.Header.Set("Origin", "http://attacker.example")
		request.Header.Set("Access-Control-Request-Headers", strings.ToLower(resolveHeader))
	}
	for name, test := range map[string]struct {
		path   string
		change func(*http.Request)
		code   int
	}{
		"the page":                     {"/resolve?image=nginx:9", fromPage, http.StatusOK},
		"a link elsewhere":             {"/resolve?image=nginx:9", from("cross-site", "navigate"), http.StatusForbidden},
		"a script elsewhere":           {"/resolve?image=nginx:9", from("cross-site", "no-cors"), http.StatusForbidden},
		"an image of a page elsewhere": {"/resolve?image=nginx:9", unchanged, http.StatusForbidden}, // http://10.0.0.5: no Sec-Fetch-Site
		"the permission for a header":  {"/resolve?image=nginx:9", preflight, http.StatusMethodNotAllowed},
		"an image not on the page":     {"/resolve?image=secret:1", fromPage, http.StatusNotFound},
		"all images of the node":       {"/resolve", fromPage, http.StatusNotFound},
	} {
		lookups = 0
		response, body := ask(t, server, test.path, test.change)
		if response.StatusCode != test.code || lookups > 0 && test.code != http.StatusOK {
			t.Errorf("%s: got %d with %d lookups, want %d", name, response.StatusCode, lookups, test.code)
		}
		if allowed := response.Header.Get("Access-Control-Allow-Headers"); allowed != "" {
			t.Errorf("%s: other sites may send %s", name, allowed)
		}
		if test.code == http.StatusOK && body != `{"rows":[{"subject":"pulled as","reference":"nginx:9"}]}` {
			t.Errorf("%s: got %s", name, body)
		}
	}
}

// TestResolveIsBounded requires that one lookup runs at a time, that it ends in time, and
// that the next one begins only after the interval.
func TestResolveIsBounded(t *testing.T) {
	sources := healthySources()
	started := make(chan struct{}, 2)
	sources.Resolve = func(ctx context.Context, image string) Explanation {
		started <- struct{}{}
		if image == "slow" {
			<-ctx.Done()
		}
		return Explanation{}
	}
	p, server := serve(t, sources)
	p.resolver.timeout, p.resolver.interval = 200*time.Millisecond, 50*time.Millisecond
	p.ObserveDecision(Decision{Asked: "slow"})
	p.ObserveDecision(Decision{Asked: "fast"})
	codes := make(chan int)
	go func() {
		response, _ := ask(t, server, "/resolve?image=slow", fromPage)
		codes <- response.StatusCode
	}()
	<-started
	p.resolver.slot <- struct{}{} // waits for the end of the lookup and for the interval
	if code := <-codes; code != http.StatusOK {
		t.Errorf("the slow lookup ended with %d", code)
	}
	if response, _ := ask(t, server, "/resolve?image=fast", fromPage); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("with a taken slot: got %d", response.StatusCode)
	}
	<-p.resolver.slot
	if response, _ := ask(t, server, "/resolve?image=fast", fromPage); response.StatusCode != http.StatusOK {
		t.Errorf("with a free slot: got %d", response.StatusCode)
	}
	begun := time.Now()
	if response, _ := ask(t, server, "/resolve?image=fast", fromPage); response.StatusCode != http.StatusOK || time.Since(begun) < 30*time.Millisecond {
		t.Errorf("at once after another: got %d after %v", response.StatusCode, time.Since(begun))
	}
}
