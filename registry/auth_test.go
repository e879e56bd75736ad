package registry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"image-cri-shim/registry"
)

// withTokens requires a token for requests. It issues tokens to clients with the password
// and, for a public registry, to anonymous clients.
func withTokens(next http.Handler, public bool) http.Handler {
	const token = "canary-t0ken-of-the-token-server"
	mux := http.NewServeMux()
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		user, secret, given := r.BasicAuth()
		if (user != username || secret != password) && (given || !public) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"token": token})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, r.Host))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
	return mux
}

func TestCredentials(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	right := registry.Config{Username: username, Password: password}
	wrong := registry.Config{Username: username, Password: "wrong-" + password}
	tests := []struct {
		name    string
		handler http.Handler
		config  registry.Config
		state   registry.State
		err     string
	}{
		{"basic", basicAuth(contents), right, registry.Found, ""},
		{"basic, wrong", basicAuth(contents), wrong, registry.Unknown, "configured credentials rejected"},
		{"basic, none", basicAuth(contents), registry.Config{}, registry.Unknown, "none configured"},
		{"token", withTokens(contents, false), right, registry.Found, ""},
		{"token, wrong", withTokens(contents, false), wrong, registry.Unknown, "401"},
		{"token, none", withTokens(contents, false), registry.Config{}, registry.Unknown, "401"},
		{"anonymous token", withTokens(contents, true), registry.Config{}, registry.Found, ""},
		{"not needed", contents, right, registry.Found, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, test.handler)
			test.config.Address = server.URL
			answer := findOne(t, newSet(t, registry.Options{Registries: []registry.Config{test.config}}), "nginx:1.25")
			if answer.State != test.state || (test.err != "" && !strings.Contains(fmt.Sprint(answer.Err), test.err)) {
				t.Errorf("%v (%v), want %v with %q", answer.State, answer.Err, test.state, test.err)
			}
			if absent := findOne(t, newSet(t, registry.Options{Registries: []registry.Config{test.config}}), "nginx:gone"); test.state == registry.Found && absent.State != registry.Absent {
				t.Errorf("absent image: %v (%v), want absent", absent.State, absent.Err)
			}
		})
	}
}

// Lookups of many images in a repository share a token and a connection.
func TestLoginIsKept(t *testing.T) {
	server := serve(t, withTokens(newStorage(), false))
	set := newSetOf(t, server.URL)
	for i := range 5 {
		findOne(t, set, fmt.Sprintf("nginx:%d", i))
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	tokens := 0
	for _, request := range server.requests {
		if strings.HasSuffix(request, "/token") {
			tokens++
		}
	}
	if tokens != 1 {
		t.Errorf("%d logins for one repository, want 1", tokens)
	}
	if got := len(server.firstBytes); got > 2 {
		t.Errorf("%d connections for sequential lookups, want 1", got)
	}
}

// The target of a redirect gets no credentials, even on the same machine.
func TestRedirectCarriesNoCredentials(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	for name, protect := range map[string]func(http.Handler) http.Handler{
		"basic": basicAuth,
		"token": func(next http.Handler) http.Handler { return withTokens(next, false) },
	} {
		t.Run(name, func(t *testing.T) {
			other := serve(t, contents)
			server := serve(t, protect(on(isManifest, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
			}, contents)))
			answer := findOne(t, newSetOf(t, server.URL), "nginx:1.25")
			if answer.State != registry.Found {
				t.Errorf("%v (%v), want it found where the registry says", answer.State, answer.Err)
			}
			if other.count(http.MethodHead) != 1 {
				t.Error("the redirect was not followed")
			}
			if got := other.seenAuthorizations(); len(got) != 0 {
				t.Errorf("the other host was sent %d credentials", len(got))
			}
			if got := server.seenAuthorizations(); len(got) == 0 {
				t.Error("the registry got no credentials: the test is void")
			}
		})
	}
}

// The password is sent to the token server that the registry names. The registry gets only
// the token.
func TestTokenServerOfAnotherHost(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	tokens := serve(t, withTokens(contents, false))
	realm := strings.Replace(tokens.URL, "127.0.0.1", "localhost", 1) + "/token"
	server := serve(t, on(func(r *http.Request) bool { return r.Header.Get("Authorization") == "" }, challenge(realm), contents))
	answer := findOne(t, newSetOf(t, server.URL), "nginx:1.25")
	if answer.State != registry.Found {
		t.Errorf("%v (%v), want it found", answer.State, answer.Err)
	}
	for _, authorization := range server.seenAuthorizations() {
		if !strings.HasPrefix(authorization, "Bearer ") {
			t.Error("the registry was sent the password")
		}
	}
	if len(tokens.seenAuthorizations()) == 0 {
		t.Error("the token server got no password: the test is void")
	}
}

// A token server may have a private address other than the registry's, as with container
// engines, but not the address of a metadata service.
func TestTokenServerOfAnotherPrivateAddress(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	tokens := serve(t, withTokens(contents, false), onAddress(t, "127.0.0.2:0"))
	withoutLogin := func(r *http.Request) bool { return r.Header.Get("Authorization") == "" }
	server := serve(t, on(withoutLogin, challenge(tokens.URL+"/token"), contents))
	if answer := findOne(t, newSetOf(t, server.URL), "nginx:1.25"); answer.State != registry.Found {
		t.Errorf("%v (%v), want it found", answer.State, answer.Err)
	}
	for _, realm := range []string{"http://169.254.169.254/token", "http://[fe80::1]/token", "http://[fd00:ec2::254]/token"} {
		server := serve(t, challenge(realm))
		answer := findOne(t, newSetOf(t, server.URL), "nginx:1.25")
		if answer.State != registry.Unknown || !strings.Contains(fmt.Sprint(answer.Err), "private or link-local address") {
			t.Errorf("%s: %v (%v), want the token server refused", realm, answer.State, answer.Err)
		}
	}
}

func challenge(realm string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="test"`, realm))
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// If a token server redirects to another host, no secret is sent there: neither the password
// in a header nor the identity token in a form.
func TestRedirectOfTheTokenServerCarriesNoSecret(t *testing.T) {
	const identity = "canary-identity"
	path := filepath.Join(t.TempDir(), "config.json")
	for _, code := range []int{http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		for name, login := range map[string]object{"password": encoded(username, password), "identity token": {"identitytoken": identity}} {
			t.Run(fmt.Sprint(name, " ", code), func(t *testing.T) {
				other := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if body, err := io.ReadAll(r.Body); err != nil || strings.Contains(string(body), identity) {
						t.Errorf("the other host was sent the identity token (%v)", err)
					}
					w.WriteHeader(http.StatusForbidden)
				}))
				asked := make(chan struct{}, 10)
				server := serve(t, on(func(r *http.Request) bool { return r.URL.Path == "/token" }, func(w http.ResponseWriter, r *http.Request) {
					asked <- struct{}{}
					http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1), code)
				}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { challenge("http://"+r.Host+"/token")(w, r) })))
				writeAuthFile(t, path, object{"auths": object{server.host(): login}})
				set := newSet(t, registry.Options{Registries: []registry.Config{{Address: server.URL, AuthFile: path}}})
				answer := findOne(t, set, "nginx:1.25")
				if answer.State != registry.Unknown {
					t.Errorf("%v, want it unknown", answer.State)
				}
				checkNoSecret(t, fmt.Sprint(answer.Err))
				receive(t, asked, "request for a token")
				if got := other.seenAuthorizations(); len(got) != 0 {
					t.Errorf("the other host was sent %d credentials", len(got))
				}
			})
		}
	}
}

// If the target of a redirect fails, the error names the target's host.
func TestFailureElsewhereIsNamed(t *testing.T) {
	other := serve(t, status(http.StatusForbidden))
	contents := newStorage()
	server := serve(t, on(isManifest, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/signed?secret="+password, http.StatusTemporaryRedirect)
	}, contents))
	answer := findOne(t, newSetOf(t, server.URL), "nginx:1.25")
	if want := other.host() + " answered 403 Forbidden"; answer.State != registry.Unknown || answer.Err.Error() != want {
		t.Errorf("%v (%v), want %q", answer.State, answer.Err, want)
	}
}

// Errors show no secret, even if a hostile or broken registry echoes it.
func TestNothingShowsSecrets(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		_, secret, _ := r.BasicAuth()
		w.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":%q,"detail":%q}]}`, secret, r.Header.Get("Authorization"))
	}
	location := func(target string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, secret, _ := r.BasicAuth()
			w.Header().Set("Location", strings.ReplaceAll(target, "SECRET", secret))
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	}
	contentType := func(w http.ResponseWriter, r *http.Request) {
		_, secret, _ := r.BasicAuth()
		w.Header().Set("Content-Type", secret)
		w.Header().Set("Docker-Content-Digest", digest)
	}
	bearer := func(realm string, token http.HandlerFunc) http.Handler {
		return on(func(r *http.Request) bool { return r.URL.Path == "/token" }, token,
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+strings.ReplaceAll(realm, "HOST", r.Host)+`"`)
				w.WriteHeader(http.StatusUnauthorized)
			}))
	}
	handlers := map[string]http.Handler{
		"good":              basicAuth(newStorage()),
		"wrong password":    login(status(http.StatusUnauthorized)),
		"echo":              login(echo),
		"echo without HEAD": login(on(isHead, status(http.StatusMethodNotAllowed), http.HandlerFunc(echo)).ServeHTTP),
		"echo in a type":    login(contentType),
		"echo of a token in a type": withTokens(on(isManifest, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", r.Header.Get("Authorization"))
			w.Header().Set("Docker-Content-Digest", digest)
		}, newStorage()), false),
		"echo of a token in a digest": withTokens(on(isManifest, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.Header().Set("Docker-Content-Digest", r.Header.Get("Authorization"))
		}, newStorage()), false),
		"redirect with user": login(location("ftp://user:SECRET@host/x?token=SECRET")),
		"redirect to no URL": login(location("http://[bad SECRET")),
		"answer with no token": bearer("http://HOST/token?x=canary", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"refresh_token":%q}`, password)
		}),
		"echo instead of a token": bearer("http://HOST/token?x=canary", echo),
		"bad realm":               bearer("gopher://u:canary@10.0.0.1/token?x=canary", echo),
		"realm of another host":   bearer("http://u:canary@10.0.0.1/token?x=canary", echo),
		"realm that is not a URL": bearer("http://u:canary@[bad?x=canary", echo),
	}
	for name, handler := range handlers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := registry.Options{Registries: []registry.Config{
				{Address: serve(t, handler).URL, Username: username, Password: password},
			}}
			set := newSet(t, options)
			answer := findOne(t, set, "nginx:1.25")
			values := []any{
				options, &options, options.Registries, options.Registries[0], &options.Registries[0], set,
				answer, &answer, []registry.Answer{answer}, answer.Candidate, answer.Credentials, &answer.Credentials,
				set.Candidates(parse(t, "nginx")),
			}
			for err := answer.Err; err != nil; err = errors.Unwrap(err) {
				values = append(values, err)
			}
			for _, value := range values {
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
					checkNoSecret(t, fmt.Sprintf(verb, value))
				}
			}
			encoded, err := json.Marshal(answer)
			if err != nil {
				t.Fatal(err)
			}
			checkNoSecret(t, string(encoded))
			if answer.Err != nil && (len(answer.Err.Error()) > 200 || strings.ContainsAny(answer.Err.Error(), "\r\n")) {
				t.Errorf("an error that is long or has several lines: %q", answer.Err)
			}
		})
	}
}

func checkNoSecret(t *testing.T, text string) {
	t.Helper()
	secrets := []string{"canary", "Y2FuYXJ5", fmt.Sprintf("%x", "canary")}
	if slices.ContainsFunc(secrets, func(secret string) bool { return strings.Contains(text, secret) }) {
		t.Errorf("a secret in %q", text)
	}
}

// login asks for a password and accepts any.
func login(next http.HandlerFunc) http.Handler {
	return on(isManifest, next, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
}
