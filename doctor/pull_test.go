package doctor

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"image-cri-shim/registry"
)

const indexType = "application/vnd.oci.image.index.v1+json"

// manifestServer serves the manifest of library/app:1 below /v2. login is the Authorization
// header that it requires; challenge is its challenge.
type manifestServer struct {
	body, mediaType  string
	challenge, login string
	refusesHead      bool
	omitsDigest      bool
	seen             []string // Authorization headers
	queries          []string
}

func (s *manifestServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		_, _ = fmt.Fprintf(w, `{"token":"%s for %s"}`, r.Header.Get("Authorization"), r.URL.Query().Get("scope"))
		return
	}
	s.seen, s.queries = append(s.seen, r.Header.Get("Authorization")), append(s.queries, r.URL.RawQuery)
	digest := digestOf([]byte(s.body))
	switch {
	case s.login != "" && r.Header.Get("Authorization") != s.login:
		w.Header().Set("WWW-Authenticate", strings.ReplaceAll(s.challenge, "HOST", r.Host))
		w.WriteHeader(http.StatusUnauthorized)
	case s.refusesHead && r.Method == http.MethodHead:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case r.URL.Path != "/v2/library/app/manifests/1" && r.URL.Path != "/v2/library/app/manifests/"+digest:
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", s.mediaType)
		w.Header().Set("Content-Length", fmt.Sprint(len(s.body)))
		if !s.omitsDigest {
			w.Header().Set("Docker-Content-Digest", digest)
		}
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, s.body)
		}
	}
}

// TestPull requests a manifest over a mirror and the registry's own host, as each runtime
// does.
func TestPull(t *testing.T) {
	const manifest = `{"schemaVersion":2}`
	const basic, secret = "Basic c2hpbTpjYW5hcnk=", "canary" // shim:canary
	healthy := manifestServer{body: manifest, mediaType: indexType}
	with := func(change func(*manifestServer)) manifestServer {
		changed := healthy
		change(&changed)
		return changed
	}
	other := manifestServer{body: "other", mediaType: indexType}
	refusing := manifestServer{challenge: "Basic", login: "none"}
	basicLogin := with(func(s *manifestServer) { s.challenge, s.login = `Basic realm="x"`, basic })
	for _, test := range []struct {
		name        string
		mirror, own manifestServer
		isCRIO      bool
		from        string // the host that serves: mirror, own; empty: none
		text        string // a part of the error
		toMirror    bool   // the mirror receives the login
		credentials registry.Credentials
	}{
		{name: "mirror", mirror: healthy, own: other, from: "mirror"},
		{name: "own host after the mirror", mirror: refusing, own: healthy, from: "own"},
		{name: "login at the own host only", mirror: basicLogin, own: basicLogin, from: "own"},
		{name: "login at every host of CRI-O", mirror: basicLogin, own: basicLogin, isCRIO: true, from: "mirror", toMirror: true},
		{name: "token", mirror: refusing, own: with(func(s *manifestServer) {
			s.challenge, s.login = `Bearer realm="http://HOST/token",service="x"`, "Bearer "+basic+" for repository:library/app:pull"
		}), from: "own"},
		{name: "registry token, which no runtime uses", mirror: refusing, own: basicLogin, text: "own: the host answered 401 Unauthorized", credentials: registry.Credentials{RegistryToken: secret}},
		{name: "HEAD refused", mirror: with(func(s *manifestServer) { s.refusesHead = true }), own: other, from: "mirror"},
		{name: "no digest", mirror: with(func(s *manifestServer) { s.omitsDigest = true }), own: other, from: "mirror"},
		{name: "web server", mirror: with(func(s *manifestServer) { s.mediaType = "text/html" }), own: healthy, text: "mirror: the host answered 200 OK, but not with an image manifest"},
		{name: "large", mirror: with(func(s *manifestServer) { s.body = strings.Repeat(" ", manifestLimit+1) }), own: healthy, text: "more than"},
		{name: "another platform", mirror: with(func(s *manifestServer) {
			s.body = `{"manifests":[{"platform":{"os":"linux","architecture":"s390x"}},{"platform":{"os":"windows","architecture":"amd64"}}]}`
		}), own: healthy, text: "no variant for linux/"},
		{name: "no manifest", mirror: with(func(s *manifestServer) { s.body = "canary" }), own: healthy, text: "not JSON"},
	} {
		t.Run(test.name, func(t *testing.T) {
			mirror, own := httptest.NewServer(&test.mirror), httptest.NewServer(&test.own)
			defer mirror.Close()
			defer own.Close()
			host := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }
			credentials := registry.Credentials{Username: "shim", Password: secret, ServerAddress: own.URL}
			if test.credentials != (registry.Credentials{}) {
				credentials = test.credentials
				credentials.ServerAddress = own.URL
			}
			c := manifestCheck{isCRIO: test.isCRIO}
			for _, h := range []string{host(mirror), host(own)} {
				c.routes = append(c.routes, route{scheme: "http", host: h, path: "/v2", resolvesTags: true, sharesLogin: test.isCRIO})
				c.results = append(c.results, routeResult{client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, scheme: "http"})
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			got := c.pull(ctx, registry.Answer{Candidate: registry.Candidate{Reference: host(own) + "/library/app:1"}, Credentials: credentials})
			text := strings.NewReplacer(host(mirror), "mirror", host(own), "own").Replace(fmt.Sprint(got.err))
			if test.from != "" && (got.err != nil || got.route.host != map[string]string{"mirror": host(mirror), "own": host(own)}[test.from]) {
				t.Errorf("from %v: %v, want %s", got.route, text, test.from)
			}
			if test.from == "" && (got.err == nil || !strings.Contains(text, test.text)) || strings.Contains(text, secret) {
				t.Errorf("got %v from %v, want %q", text, got.route, test.text)
			}
			if sent := strings.Contains(strings.Join(test.mirror.seen, ""), basic); sent != test.toMirror {
				t.Errorf("the mirror received %q", test.mirror.seen)
			}
			if want := map[bool]string{false: "ns=" + strings.ReplaceAll(host(own), ":", "%3A")}[test.isCRIO]; test.mirror.queries[0] != want {
				t.Errorf("the mirror received the query %q, want %q", test.mirror.queries[0], want)
			}
			if strings.Join(test.own.queries, "") != "" {
				t.Errorf("the own host received the queries %q", test.own.queries)
			}
		})
	}
}

func TestSplit(t *testing.T) {
	for reference, want := range map[string][3]string{
		"hub:5000/library/app:1":    {"hub:5000", "library/app", "1"},
		"hub/app@sha256:1":          {"hub", "app", "sha256:1"},
		"[fd00::1]:5000/a/b/c:v1.2": {"[fd00::1]:5000", "a/b/c", "v1.2"},
	} {
		if host, repository, identifier := split(reference); [3]string{host, repository, identifier} != want {
			t.Errorf("%s: %s, %s, %s", reference, host, repository, identifier)
		}
	}
}
