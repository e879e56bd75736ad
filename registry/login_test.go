package registry_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"image-cri-shim/registry"
)

// gatekeeper is a registry with a login method that can be changed. It issues tokens that
// contain their generation.
type gatekeeper struct {
	next http.Handler

	mu      sync.Mutex
	mode    string // "open", "basic" or "token"
	realm   string // path of the token server
	number  int    // generation of the valid tokens
	refusal int    // status for other tokens
	strict  bool   // in mode open, refuse a login
	said    object // in responses of the token server, in addition to the token
	tokens  int    // number of issued tokens
}

func (g *gatekeeper) set(change func(*gatekeeper)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(g)
}

func (g *gatekeeper) isRevoked() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.number > 0
}

func (g *gatekeeper) handedOut() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tokens
}

func (g *gatekeeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	token := fmt.Sprintf("canary-token-%d", g.number)
	user, secret, isBasic := r.BasicAuth()
	authorization := r.Header.Get("Authorization")
	switch {
	case strings.HasPrefix(r.URL.Path, "/token") && r.URL.Path != g.realm:
		w.WriteHeader(http.StatusNotFound)
	case strings.HasPrefix(r.URL.Path, "/token"):
		if !isBasic && r.FormValue("refresh_token") != identity || isBasic && (user != username || secret != password) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		g.tokens++
		answer := object{"token": token}
		for key, value := range g.said {
			answer[key] = value
		}
		_ = json.NewEncoder(w).Encode(answer)
	case g.mode == "open" && (authorization == "" || !g.strict),
		g.mode == "basic" && user == username && secret == password,
		g.mode == "token" && authorization == "Bearer "+token:
		g.next.ServeHTTP(w, r)
	case authorization != "" && g.refusal != 0:
		w.WriteHeader(g.refusal)
	case g.mode == "basic":
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
	default:
		challenge("http://"+r.Host+g.realm)(w, r)
	}
}

const identity = "canary-identity"

// serveGatekeeper serves images of two repositories.
func serveGatekeeper(t *testing.T, mode string) (*gatekeeper, *server) {
	t.Helper()
	contents := newStorage()
	for _, image := range []string{"library/nginx:1", "library/nginx:2", "library/nginx:3", "library/redis:1", "library/redis:2"} {
		contents.push(t, image)
	}
	g := &gatekeeper{next: contents, mode: mode, realm: "/token"}
	return g, serve(t, g)
}

// If a login from an earlier lookup is no longer valid, the lookup logs in again.
func TestLoginIsRenewed(t *testing.T) {
	revoked := func(status int) func(*gatekeeper) {
		return func(g *gatekeeper) { g.number, g.refusal = 1, status }
	}
	for _, test := range []struct {
		name, mode string
		change     func(*gatekeeper)
	}{
		{"a token that is answered 401", "token", revoked(0)},
		{"a token that is answered 400", "token", revoked(http.StatusBadRequest)},
		{"a token that is answered 403", "token", revoked(http.StatusForbidden)},
		{"open, then a token", "open", func(g *gatekeeper) { g.mode = "token" }},
		{"open, then a password", "open", func(g *gatekeeper) { g.mode = "basic" }},
		{"a token, then open", "token", func(g *gatekeeper) { g.mode = "open" }},
		{"a token, then open and strict", "token", func(g *gatekeeper) { g.mode, g.strict, g.refusal = "open", true, http.StatusBadRequest }},
		{"a password, then a token", "basic", func(g *gatekeeper) { g.mode = "token" }},
		{"a password that is answered 403, then a token", "basic", func(g *gatekeeper) { g.mode, g.refusal = "token", http.StatusForbidden }},
		{"a token, then a password", "token", func(g *gatekeeper) { g.mode = "basic" }},
		{"another realm", "token", func(g *gatekeeper) { g.realm, g.number = "/token-server", 1 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g, server := serveGatekeeper(t, test.mode)
			set := newSetOf(t, server.URL)
			expect := func(images ...string) {
				t.Helper()
				for _, image := range images {
					if answer := findOne(t, set, image); answer.State != registry.Found {
						t.Errorf("%s: %v (%v), want it found", image, answer.State, answer.Err)
					}
				}
			}
			expect("nginx:1", "redis:1")
			g.set(test.change)
			// The logins of both repositories are renewed, although within one minute.
			expect("nginx:2", "redis:2", "nginx:3")
		})
	}
}

// All concurrent lookups are answered if their common login is refused.
func TestLoginIsRenewedForAll(t *testing.T) {
	g, _ := serveGatekeeper(t, "token")
	var stale sync.WaitGroup
	stale.Add(3)
	server := serve(t, on(func(r *http.Request) bool {
		return r.Header.Get("Authorization") == "Bearer canary-token-0" && g.isRevoked()
	},
		func(w http.ResponseWriter, r *http.Request) {
			stale.Done()
			stale.Wait()
			g.ServeHTTP(w, r)
		}, g))
	set := newSetOf(t, server.URL)
	findOne(t, set, "nginx:gone")
	g.set(func(g *gatekeeper) { g.number = 1 })
	var users sync.WaitGroup
	for i := range 3 {
		users.Go(func() {
			if answer := findOne(t, set, fmt.Sprintf("nginx:%d", i+1)); answer.State != registry.Found {
				t.Errorf("%v (%v), want it found", answer.State, answer.Err)
			}
		})
	}
	users.Wait()
}

// A refresh token from the token server does not replace the configured identity token, so
// that a refusal of the refresh token has no effect.
func TestRefreshTokenThatIsRefused(t *testing.T) {
	g, server := serveGatekeeper(t, "token")
	g.said = object{"refresh_token": "canary-refused"}
	path := filepath.Join(t.TempDir(), "config.json")
	writeAuthFile(t, path, object{"auths": object{server.host(): object{"identitytoken": identity}}})
	set := newSet(t, registry.Options{Registries: []registry.Config{{Address: server.URL, AuthFile: path}}})
	for i, image := range []string{"nginx:1", "nginx:2"} {
		g.set(func(g *gatekeeper) { g.number = i })
		if answer := findOne(t, set, image); answer.State != registry.Found {
			t.Errorf("%s: %v (%v), want it found", image, answer.State, answer.Err)
		}
	}
}

// If a registry refuses every login, lookups do not log in each time.
func TestRenewalsAreBounded(t *testing.T) {
	for _, refusal := range []int{0, http.StatusBadRequest, http.StatusForbidden} {
		t.Run(fmt.Sprint(refusal), func(t *testing.T) {
			t.Parallel()
			g, server := serveGatekeeper(t, "token")
			set := newSetOf(t, server.URL)
			findOne(t, set, "nginx:1")
			g.set(func(g *gatekeeper) { g.number, g.refusal = 1, refusal })
			g.next = status(http.StatusForbidden) // for any token
			for i := range 10 {
				if answer := findOne(t, set, fmt.Sprintf("nginx:gone-%d", i)); answer.State != registry.Unknown {
					t.Errorf("%v, want it unknown", answer.State)
				}
			}
			if got := g.handedOut(); got != 2 {
				t.Errorf("%d tokens for 11 lookups, want the first and its renewal", got)
			}
		})
	}
}

// A lookup that is refused with a login of its own does not log in again.
func TestFreshLoginIsNotRenewed(t *testing.T) {
	for _, refusal := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden} {
		g, server := serveGatekeeper(t, "token")
		g.next = status(refusal)
		if answer := findOne(t, newSetOf(t, server.URL), "nginx:1"); answer.State != registry.Unknown || g.handedOut() != 1 {
			t.Errorf("%d: %v (%v) with %d tokens, want it unknown with one", refusal, answer.State, answer.Err, g.handedOut())
		}
	}
}

// A login is used for the lifetime of its token, or for one minute if the token server does
// not state one.
func TestAgeOfALogin(t *testing.T) {
	for _, test := range []struct {
		name string
		said object
		want int // tokens for three lookups
	}{
		{"no lifetime in the response", nil, 1},
		{"for an hour", object{"expires_in": 3600}, 1},
		{"for an hour from now on", object{"expires_in": 3600, "issued_at": time.Now().UTC().Format(time.RFC3339)}, 1},
		{"for an hour, by a clock that is ahead", object{"expires_in": 3600, "issued_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}, 1},
		{"for a minute, two minutes ago", object{"issued_at": time.Now().Add(-2 * time.Minute).UTC().Format(time.RFC3339)}, 3},
		{"for five minutes, ten minutes ago", object{"expires_in": 300, "issued_at": time.Now().Add(-10 * time.Minute).UTC().Format(time.RFC3339Nano)}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, server := serveGatekeeper(t, "token")
			g.said = test.said
			set := newSetOf(t, server.URL)
			for i := range 3 {
				if answer := findOne(t, set, fmt.Sprintf("nginx:%d", i+1)); answer.State != registry.Found {
					t.Errorf("%v (%v), want it found", answer.State, answer.Err)
				}
			}
			if got := g.handedOut(); got != test.want {
				t.Errorf("%d tokens, want %d", got, test.want)
			}
		})
	}
	t.Run("for a second", func(t *testing.T) {
		g, server := serveGatekeeper(t, "token")
		g.said = object{"expires_in": 1}
		set := newSet(t, registry.Options{FoundTTL: 1, Registries: []registry.Config{{Address: server.URL, Username: username, Password: password}}})
		for deadline := time.Now().Add(testTimeout); g.handedOut() < 3; {
			if answer := findOne(t, set, "nginx:1"); answer.State != registry.Found {
				t.Fatalf("%v (%v), want it found", answer.State, answer.Err)
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d tokens within %v", g.handedOut(), testTimeout)
			}
		}
	})
}

// The login follows the 401 response for the manifest, not the answer of the API root.
func TestRootDecidesNothing(t *testing.T) {
	isRoot := func(r *http.Request) bool { return r.URL.Path == "/v2/" }
	for name, root := range map[string]http.HandlerFunc{
		"200":                status(http.StatusOK),
		"401 without a word": status(http.StatusUnauthorized),
		"401 with another challenge": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://127.0.0.1:1/nowhere"`)
			w.WriteHeader(http.StatusUnauthorized)
		},
		"403": status(http.StatusForbidden),
		"404": status(http.StatusNotFound),
		"500": status(http.StatusInternalServerError),
	} {
		for _, mode := range []string{"open", "basic", "token"} {
			t.Run(name+" "+mode, func(t *testing.T) {
				t.Parallel()
				g, _ := serveGatekeeper(t, mode)
				server := serve(t, on(isRoot, root, g))
				set := newSetOf(t, server.URL)
				if answer := findOne(t, set, "nginx:1"); answer.State != registry.Found {
					t.Errorf("%v (%v), want it found", answer.State, answer.Err)
				}
				server.mu.Lock()
				for _, request := range server.requests {
					if strings.HasSuffix(request, " /v2/") {
						t.Error("the root was asked")
					}
				}
				server.mu.Unlock()
				for _, set := range []*registry.Set{set, newSetOf(t, server.URL)} {
					if answer := findOne(t, set, "nginx:gone"); answer.State != registry.Absent {
						t.Errorf("%v (%v), want it absent", answer.State, answer.Err)
					}
				}
			})
		}
	}
}

// A registry may offer several login methods, and repositories may require different ones.
func TestChallengeIsTheRepositorys(t *testing.T) {
	g, _ := serveGatekeeper(t, "token")
	redis := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/redis/") }
	server := serve(t, on(redis, basicAuth(g.next).ServeHTTP, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" && isManifest(r) {
			w.Header().Add("WWW-Authenticate", "Negotiate")
			w.Header().Add("WWW-Authenticate", `Basic realm="registry"`) // offered but not accepted
		}
		if !isManifest(r) || strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
			g.ServeHTTP(w, r)
			return
		}
		w.Header().Add("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, r.Host))
		w.WriteHeader(http.StatusUnauthorized)
	})))
	set := newSetOf(t, server.URL)
	for _, image := range []string{"nginx:1", "redis:1", "nginx:2", "redis:2"} {
		if answer := findOne(t, set, image); answer.State != registry.Found {
			t.Errorf("%s: %v (%v), want it found", image, answer.State, answer.Err)
		}
	}
}

// A redirect to a private address is followed, without the login.
func TestRedirectToAPrivateAddress(t *testing.T) {
	g, _ := serveGatekeeper(t, "token")
	other := serve(t, g.next, onAddress(t, "127.0.0.2:0"))
	g.next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	server := serve(t, g)
	set := newSetOf(t, strings.Replace(server.URL, "127.0.0.1", "localhost", 1))
	if answer := findOne(t, set, "nginx:1"); answer.State != registry.Found {
		t.Errorf("%v (%v), want it found where the registry says", answer.State, answer.Err)
	}
	if got := other.seenAuthorizations(); len(got) != 0 {
		t.Errorf("the other host was sent %d logins", len(got))
	}
}

// A refusal by the target of a redirect does not affect the registry's login.
func TestRefusalAfterARedirect(t *testing.T) {
	g, server := serveGatekeeper(t, "token")
	other := serve(t, status(http.StatusForbidden))
	set := newSetOf(t, server.URL)
	findOne(t, set, "nginx:1")
	g.set(func(g *gatekeeper) {
		g.next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		})
	})
	answer := findOne(t, set, "nginx:2")
	if want := other.host() + " answered 403 Forbidden"; fmt.Sprint(answer.Err) != want || g.handedOut() != 1 {
		t.Errorf("%v, and %d tokens, want %q and one", answer.Err, g.handedOut(), want)
	}
}

// A registry that refuses HEAD is asked with GET, and from then on only with GET.
func TestHeadThatIsRefused(t *testing.T) {
	for _, code := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented} {
		for _, mode := range []string{"open", "basic", "token"} {
			t.Run(fmt.Sprint(code, " ", mode), func(t *testing.T) {
				t.Parallel()
				g, _ := serveGatekeeper(t, mode)
				server := serve(t, on(isHead, status(code), g))
				set := newSetOf(t, server.URL)
				for _, image := range []string{"nginx:1", "nginx:2", "redis:1"} {
					if answer := findOne(t, set, image); answer.State != registry.Found || answer.Digest == "" {
						t.Errorf("%s: %v (%v), want it found", image, answer.State, answer.Err)
					}
				}
				if answer := findOne(t, set, "nginx:gone"); answer.State != registry.Absent {
					t.Errorf("%v (%v), want it absent", answer.State, answer.Err)
				}
				if got := server.count(http.MethodHead); got != 1 {
					t.Errorf("%d HEAD requests for four lookups, want one", got)
				}
			})
		}
	}
	t.Run("as a token's refusal", func(t *testing.T) {
		g, _ := serveGatekeeper(t, "token")
		isLoggedIn := func(r *http.Request) bool { return isHead(r) && r.Header.Get("Authorization") != "" }
		server := serve(t, on(isLoggedIn, status(http.StatusForbidden), g))
		set := newSetOf(t, server.URL)
		for _, image := range []string{"nginx:1", "nginx:2"} {
			if answer := findOne(t, set, image); answer.State != registry.Found {
				t.Errorf("%s: %v (%v), want it found", image, answer.State, answer.Err)
			}
		}
	})
	t.Run("and so is GET", func(t *testing.T) {
		server := serve(t, on(isManifest, status(http.StatusForbidden), newStorage()))
		set := newSetOf(t, server.URL)
		for range 2 {
			if answer := findOne(t, set, "nginx:1"); answer.State != registry.Unknown || fmt.Sprint(answer.Err) != "answered 403 Forbidden" {
				t.Errorf("%v (%v), want it unknown", answer.State, answer.Err)
			}
		}
		if heads, all := server.count(http.MethodHead), server.count(""); heads != 2 || all != 4 {
			t.Errorf("%d HEAD requests of %d, want a HEAD and a GET for each lookup", heads, all)
		}
	})
}
