package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"image-cri-shim/registry"
)

func TestAnswers(t *testing.T) {
	contents := newStorage()
	pushed := contents.push(t, "library/nginx:1.25")
	manifest := func(headers map[string]string, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for header, value := range headers {
				w.Header().Set(header, value)
			}
			_, _ = io.WriteString(w, body)
		}
	}
	manifestHead := func(r *http.Request) bool { return isManifest(r) && isHead(r) }
	lie := map[string]string{
		"Content-Type": string(types.OCIManifestSchema1), "Content-Length": "2", "Docker-Content-Digest": digest,
	}
	tests := []struct {
		name    string
		handler http.Handler
		image   string
		state   registry.State
		digest  string
		err     string // part of the error
	}{
		{"by tag", contents, "nginx:1.25", registry.Found, pushed.String(), ""},
		{"by digest", contents, "nginx@" + pushed.String(), registry.Found, pushed.String(), ""},
		{"by tag and digest, where the tag is not there", contents, "nginx:gone@" + pushed.String(), registry.Found, pushed.String(), ""},
		{"no such tag", contents, "nginx:1.26", registry.Absent, "", ""},
		{"no such repository", contents, "httpd:1.25", registry.Absent, "", ""},
		{"no such digest", contents, "nginx@" + digest, registry.Absent, "", ""},
		{"no HEAD", on(isHead, status(http.StatusMethodNotAllowed), contents), "nginx:1.25", registry.Found, pushed.String(), ""},
		{"HEAD not implemented", on(isHead, status(http.StatusNotImplemented), contents), "nginx:1.25", registry.Found, pushed.String(), ""},
		{"HEAD without headers", on(manifestHead, status(http.StatusOK), contents), "nginx:1.25", registry.Found, pushed.String(), ""},
		{"no HEAD and no such tag", on(isHead, status(http.StatusMethodNotAllowed), contents), "nginx:1.26", registry.Absent, "", ""},
		{"401", on(isManifest, status(http.StatusUnauthorized), contents), "nginx:1.25", registry.Unknown, "", "401 Unauthorized"},
		{"403", on(isManifest, status(http.StatusForbidden), contents), "nginx:1.25", registry.Unknown, "", "403 Forbidden"},
		{"429", on(isManifest, status(http.StatusTooManyRequests), contents), "nginx:1.25", registry.Unknown, "", "429 Too Many Requests"},
		{"500", on(isManifest, status(http.StatusInternalServerError), contents), "nginx:1.25", registry.Unknown, "", "500 Internal Server Error"},
		{"nothing but 500", status(http.StatusInternalServerError), "nginx:1.25", registry.Unknown, "", "500 Internal Server Error"},
		{"nothing but 404", status(http.StatusNotFound), "nginx:1.25", registry.Unknown, "", "no OCI registry"},
		{"web page", manifest(map[string]string{"Content-Type": "text/html"}, "<html>"), "nginx:1.25", registry.Unknown, "", "not an image manifest"},
		{"web page with all headers", manifest(map[string]string{
			"Content-Type": "text/html; charset=utf-8", "Docker-Content-Digest": digest,
		}, "<html>"), "nginx:1.25", registry.Unknown, "", "not an image manifest"},
		{"type with a parameter", manifest(map[string]string{
			"Content-Type": string(types.DockerManifestSchema2) + "; charset=utf-8", "Docker-Content-Digest": digest,
		}, "{}"), "nginx:1.25", registry.Found, digest, ""},
		{"another digest", on(isManifest, manifest(lie, "{}"), contents), "nginx@" + pushed.String(), registry.Unknown, "", "does not match requested digest"},
		{"a digest that the manifest does not have", on(isManifest, manifest(lie, "{}"), contents), "nginx:1.25@sha256:" + strings.Repeat("a", 64), registry.Unknown, "", "does not match requested digest"},
		{"unknown challenge", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}), "nginx:1.25", registry.Unknown, "", "missing realm"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, test.handler)
			answer := findOne(t, newSetOf(t, server.URL), test.image)
			if answer.State != test.state || answer.Digest != test.digest {
				t.Errorf("%v %q (%v), want %v %q", answer.State, answer.Digest, answer.Err, test.state, test.digest)
			}
			switch {
			case test.err == "" && answer.Err != nil:
				t.Errorf("error %v", answer.Err)
			case test.err != "" && (answer.Err == nil || !strings.Contains(answer.Err.Error(), test.err)):
				t.Errorf("error %v, want one with %q", answer.Err, test.err)
			}
			if answer.Cached || answer.Duration <= 0 {
				t.Errorf("cached %v, after %v: want a lookup", answer.Cached, answer.Duration)
			}
		})
	}
}

func TestNoAnswer(t *testing.T) {
	tests := []struct {
		name, address, err string
	}{
		{"black hole", "http://" + blackHole(t), "no answer within 1s"},
		{"black hole over TLS", "https://" + blackHole(t), "no answer within 1s"},
		{"refused", "http://" + refusing(t), "connection refused"},
		{"refused over TLS", "https://" + refusing(t), "connection refused"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			set := newSet(t, registry.Options{
				LookupTimeout: time.Second,
				Registries:    []registry.Config{{Address: test.address}},
			})
			answer := findOne(t, set, "nginx:1.25")
			if answer.State != registry.Unknown || answer.Err == nil || !strings.Contains(answer.Err.Error(), test.err) {
				t.Errorf("%v (%v), want an error with %q", answer.State, answer.Err, test.err)
			}
		})
	}
}

// A registry under a prefix is asked for repositories under it.
func TestPrefixIsAskedFor(t *testing.T) {
	contents := newStorage()
	pushed := contents.push(t, "team/mirror/docker.io/library/nginx:1.25")
	server := serve(t, contents)
	set := newSet(t, registry.Options{Registries: []registry.Config{
		{Address: server.URL + "/team/mirror", Path: "{domain}/{path}"},
	}})
	if answer := findOne(t, set, "nginx:1.25"); answer.State != registry.Found || answer.Digest != pushed.String() {
		t.Errorf("%v %q (%v), want it found", answer.State, answer.Digest, answer.Err)
	}
}

func TestLargeManifestIsNotRead(t *testing.T) {
	var written atomic.Int64
	endless := func(w http.ResponseWriter, r *http.Request) {
		if isHead(r) {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
		for chunk := make([]byte, 64<<10); written.Load() < 1<<30; {
			n, err := w.Write(chunk)
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
	server := serve(t, on(isManifest, endless, newStorage()))
	answer := findOne(t, newSetOf(t, server.URL), "nginx")
	if answer.State != registry.Unknown {
		t.Errorf("%v, want it unknown", answer.State)
	}
	server.Close() // waits for the handler
	if got := written.Load(); got > 64<<20 {
		t.Errorf("%d bytes were taken from the registry", got)
	}
}

func TestConcurrentLookupsAreOne(t *testing.T) {
	contents := newStorage()
	pushed := contents.push(t, "library/nginx:1.25")
	release := make(chan struct{})
	server := serve(t, on(isManifest, func(w http.ResponseWriter, r *http.Request) {
		<-release
		contents.ServeHTTP(w, r)
	}, contents))
	set := newSetOf(t, server.URL)
	var begun, ended sync.WaitGroup
	for i := range 100 {
		begun.Add(1)
		image := []string{"nginx:1.25", "docker.io/library/nginx:1.25"}[i%2]
		ended.Go(func() {
			begun.Done()
			if answer := findOne(t, set, image); answer.Digest != pushed.String() {
				t.Errorf("%v (%v)", answer.State, answer.Err)
			}
		})
	}
	begun.Wait()
	close(release)
	ended.Wait()
	if got := server.count(""); got != 1 {
		t.Errorf("%d requests for 100 lookups of one image, want 1", got)
	}
}

func TestCache(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	contents.push(t, "library/nginx:1.26")
	forbidden := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "secret/manifests") }
	tests := []struct {
		name    string
		options registry.Options
		images  []string
		want    int // requests
	}{
		{"found", registry.Options{AbsentTTL: 1}, []string{"nginx:1.25", "nginx:1.25"}, 1},
		{"found expires", registry.Options{FoundTTL: 1}, []string{"nginx:1.25", "nginx:1.25"}, 2},
		{"absent", registry.Options{FoundTTL: 1}, []string{"nginx:gone", "nginx:gone"}, 1},
		{"absent expires", registry.Options{AbsentTTL: 1}, []string{"nginx:gone", "nginx:gone"}, 2},
		{"unknown", registry.Options{}, []string{"secret", "secret"}, 2},
		{"tags apart", registry.Options{}, []string{"nginx:1.25", "nginx:1.26"}, 2},
		{"no cache", registry.Options{CacheSize: -1}, []string{"nginx:1.25", "nginx:1.25"}, 2},
		{"bounded", registry.Options{CacheSize: 1}, []string{"nginx:1.25", "nginx:1.26", "nginx:1.25"}, 3},
		{"not bounded as closely", registry.Options{CacheSize: 2}, []string{"nginx:1.25", "nginx:1.26", "nginx:1.25"}, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, on(forbidden, status(http.StatusForbidden), contents))
			test.options.Registries = []registry.Config{{Address: server.URL}}
			set := newSet(t, test.options)
			var last registry.Answer
			for _, image := range test.images {
				last = findOne(t, set, image)
			}
			if got := server.count(http.MethodHead); got != test.want {
				t.Errorf("%d requests, want %d", got, test.want)
			}
			if want := test.want < len(test.images); last.Cached != want {
				t.Errorf("the last answer is cached: %v, want %v", last.Cached, want)
			}
		})
	}
}

// Using a cached answer does not extend its lifetime.
func TestCacheExpiresUnderLoad(t *testing.T) {
	t.Parallel()
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	server := serve(t, contents)
	set := newSet(t, registry.Options{FoundTTL: 200 * time.Millisecond, Registries: []registry.Config{{Address: server.URL}}})
	for deadline := time.Now().Add(testTimeout); server.count(http.MethodHead) < 2; {
		findOne(t, set, "nginx:1.25")
		if time.Now().After(deadline) {
			t.Fatalf("still not asked again after %v", testTimeout)
		}
	}
}

// gate is a registry that delays its answers for manifests until it is opened.
func gate(contents http.Handler) (handler http.Handler, asked <-chan struct{}, open func()) {
	requests, opened := make(chan struct{}, 100), make(chan struct{})
	handler = on(isManifest, func(w http.ResponseWriter, r *http.Request) {
		requests <- struct{}{}
		select {
		case <-opened:
			contents.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}, contents)
	return handler, requests, sync.OnceFunc(func() { close(opened) })
}

func TestSlowRegistries(t *testing.T) {
	contents := newStorage()
	pushed := contents.push(t, "library/nginx:1.25")
	slowHandler, asked, open := gate(contents)
	defer open()
	slow, fast := serve(t, slowHandler), serve(t, contents)
	config := func(s *server, priority int) registry.Config {
		return registry.Config{Address: s.URL, Priority: priority}
	}
	lookupTimeout := testTimeout // long enough for the slow registry

	t.Run("a worse one does not delay", func(t *testing.T) {
		set := newSet(t, registry.Options{LookupTimeout: lookupTimeout, Registries: []registry.Config{config(slow, 1), config(fast, 2)}})
		for answer := range set.Find(t.Context(), parse(t, "nginx:1.25")) {
			if answer.Registry != fast.URL || answer.State != registry.Found {
				t.Errorf("%v from %s (%v), want the best one's", answer.State, answer.Registry, answer.Err)
			}
			break
		}
		receive(t, asked, "request to the worse registry")
	})
	t.Run("the best one is waited for", func(t *testing.T) {
		set := newSet(t, registry.Options{LookupTimeout: lookupTimeout, Registries: []registry.Config{config(slow, 2), config(fast, 1)}})
		next, stop := iter.Pull(set.Find(t.Context(), parse(t, "nginx:1.25")))
		defer stop()
		go func() {
			<-asked
			for fast.count(http.MethodHead) < 2 { // both are asked at once
				time.Sleep(time.Millisecond)
			}
			open()
		}()
		for _, want := range []string{slow.URL, fast.URL} {
			answer, ok := next()
			if !ok || answer.Registry != want || answer.Digest != pushed.String() {
				t.Errorf("%v from %s (%v), want it found in %s", answer.State, answer.Registry, answer.Err, want)
			}
		}
		if _, ok := next(); ok {
			t.Error("a third answer from two registries")
		}
	})
}

func TestContextBoundsOnlyTheWaiting(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	handler, asked, open := gate(contents)
	defer open()
	server := serve(t, handler)
	set := newSet(t, registry.Options{LookupTimeout: testTimeout, Registries: []registry.Config{
		{Address: "http://" + refusing(t), Priority: 1}, {Address: server.URL},
	}})
	ctx, cancel := context.WithCancel(t.Context())
	next, stop := iter.Pull(set.Find(ctx, parse(t, "nginx:1.25")))
	defer stop()
	if answer, _ := next(); errors.Is(answer.Err, context.Canceled) {
		t.Errorf("an answer known before the end: %v", answer.Err)
	}
	receive(t, asked, "request")
	cancel()
	answer, _ := next()
	if answer.State != registry.Unknown || !errors.Is(answer.Err, context.Canceled) || answer.Registry != server.URL || answer.Reference == "" {
		t.Errorf("%v from %q for %q (%v), want it cancelled", answer.State, answer.Registry, answer.Reference, answer.Err)
	}
	open()
	answers := find(t, set, "nginx:1.25")
	if answers[1].State != registry.Found {
		t.Errorf("%v (%v), want the lookup to have continued", answers[1].State, answers[1].Err)
	}
	if got := server.count(""); got != 1 {
		t.Errorf("%d requests, want the first one's answer", got)
	}
}

func TestClose(t *testing.T) {
	handler, asked, open := gate(newStorage())
	defer open()
	server := serve(t, handler)
	set := newSet(t, registry.Options{LookupTimeout: time.Hour, Registries: []registry.Config{{Address: server.URL}}})
	answers := make(chan registry.Answer, 1)
	go func() { answers <- findOne(t, set, "nginx") }()
	receive(t, asked, "request")
	set.Close()
	for _, answer := range []registry.Answer{receive(t, answers, "answer"), findOne(t, set, "httpd")} {
		if answer.State != registry.Unknown || answer.Err == nil || !strings.Contains(answer.Err.Error(), "closed") {
			t.Errorf("%v (%v), want it to say that the set is closed", answer.State, answer.Err)
		}
	}
	set.Close()
}

func TestCloseEndsConnections(t *testing.T) {
	ended := make(chan struct{}, 10)
	server := serve(t, newStorage(), func(s *httptest.Server) {
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				ended <- struct{}{}
			}
		}
	})
	set := newSetOf(t, server.URL)
	findOne(t, set, "nginx")
	set.Close()
	receive(t, ended, "end of the connection")
}

// A known answer is returned even if the context of the caller is done.
func TestKnownAnswersNeedNoTime(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	set := newSetOf(t, serve(t, contents).URL)
	findOne(t, set, "nginx:1.25")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		for answer := range set.Find(ctx, parse(t, "nginx:1.25")) {
			if answer.State != registry.Found {
				t.Fatalf("%v (%v), want the cached answer", answer.State, answer.Err)
			}
		}
	}
}

func TestNoRegistries(t *testing.T) {
	set := newSet(t, registry.Options{})
	if answers := find(t, set, "nginx"); len(answers) != 0 {
		t.Errorf("answers of no registry: %v", answers)
	}
}

func TestConcurrentUse(t *testing.T) {
	contents := newStorage()
	var digests [4]v1.Hash
	for i := range digests {
		digests[i] = contents.push(t, fmt.Sprintf("app%d:1", i))
	}
	one, two := serve(t, withTokens(contents, false)), serve(t, contents)
	set := newSet(t, registry.Options{CacheSize: 3, FoundTTL: time.Millisecond, LookupTimeout: testTimeout, Registries: []registry.Config{
		{Address: one.URL, Username: username, Password: password}, {Address: two.URL}, {Address: "http://" + refusing(t)},
	}})
	var users sync.WaitGroup
	for user := range 16 {
		users.Go(func() {
			for i := range 10 {
				image := (user + i) % len(digests)
				answers := find(t, set, fmt.Sprintf("quay.io/app%d:1", image))
				for _, answer := range answers[:2] {
					if answer.Digest != digests[image].String() {
						t.Errorf("%v %q (%v), want %v", answer.State, answer.Digest, answer.Err, digests[image])
					}
				}
			}
		})
	}
	users.Wait()
}

func TestUserAgent(t *testing.T) {
	agents := make(chan string, 10)
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agents <- r.Header.Get("User-Agent")
		w.WriteHeader(http.StatusNotFound)
	}))
	set := newSet(t, registry.Options{Registries: []registry.Config{{Address: server.URL}}})
	findOne(t, set, "nginx")
	if agent := receive(t, agents, "request"); !strings.HasPrefix(agent, "image-cri-shim") {
		t.Errorf("user agent %q", agent)
	}
}
