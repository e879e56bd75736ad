package registry_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"image-cri-shim/registry"
)

// TestProbe requires the error of the step that fails, without the password.
func TestProbe(t *testing.T) {
	ca, serverConfig := authority(t)
	plain, encrypted := serve(t, basicAuth(newStorage())), serve(t, basicAuth(newStorage()), withTLS(serverConfig))
	slow := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	login := registry.Config{Username: username, Password: password}
	for _, test := range []struct {
		name    string
		address string
		config  registry.Config
		stage   string // step that fails; empty: none
		text    string
	}{
		{"logged in", plain.URL, login, "", ""},
		{"logged in over TLS", encrypted.URL, registry.Config{CA: ca, Username: username, Password: password}, "", ""},
		{"with a prefix", plain.URL + "/mirror", login, "", ""},
		{"with tokens", serve(t, withTokens(newStorage(), false)).URL, login, "", ""},
		{"anonymous, with tokens for all", serve(t, withTokens(newStorage(), true)).URL, registry.Config{}, "", ""},
		{"anonymous", serve(t, newStorage()).URL, registry.Config{}, "", ""},
		{"another password", plain.URL, registry.Config{Username: username, Password: "canary-other"}, "login", "configured credentials rejected"},
		{"another password, with tokens", serve(t, withTokens(newStorage(), false)).URL, registry.Config{Username: username, Password: "canary-other"}, "login", "401"},
		{"no password", plain.URL, registry.Config{}, "login", "none configured"},
		{"no such file", plain.URL, registry.Config{AuthFile: "/no/such/file"}, "login", "no such file"},
		{"no such name", "http://no-such-registry.invalid:5000", login, "name", "no-such-registry.invalid"},
		{"no listener", "http://" + refusing(t), login, "connection", "connection refused"},
		{"no trust", encrypted.URL, login, "TLS", "check ca"},
		{"no TLS", strings.Replace(plain.URL, "http:", "https:", 1), login, "TLS", "write http://"},
		{"TLS where none is wanted", strings.Replace(encrypted.URL, "https:", "http:", 1), login, "answer", "400"},
		{"no answer", slow.URL, login, "answer", "no answer within"},
		{"no registry", serve(t, http.NotFoundHandler()).URL, login, "answer", "404"},
		{"no root", serve(t, withoutRoot(http.StatusNotFound, newStorage())).URL, registry.Config{}, "", ""},
		{"no root, logged in", serve(t, withoutRoot(http.StatusForbidden, basicAuth(newStorage()))).URL, login, "", ""},
		{"no root, with tokens", serve(t, withoutRoot(http.StatusNotFound, withTokens(newStorage(), false))).URL, login, "", ""},
		{"no root, another password", serve(t, withoutRoot(http.StatusNotFound, basicAuth(newStorage()))).URL, registry.Config{Username: username, Password: "canary-other"}, "login", "configured credentials rejected"},
		{"forbidden", serve(t, status(http.StatusForbidden)).URL, login, "answer", "403"},
		{"overloaded", serve(t, status(http.StatusServiceUnavailable)).URL, login, "answer", "503"},
		{"echoes the credentials", serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, secret, _ := r.BasicAuth()
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"`+secret+`"}]}`, http.StatusUnauthorized)
		})).URL, login, "login", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.config.Address = test.address
			options := registry.Options{Registries: []registry.Config{test.config}}
			if test.address == slow.URL {
				options.LookupTimeout = 200 * time.Millisecond
			}
			probes := newSet(t, options).Probe(t.Context())
			if len(probes) != 1 {
				t.Fatalf("%d probes", len(probes))
			}
			v := probes[0]
			for stage, err := range map[string]error{"name": v.Name, "connection": v.Connection, "TLS": v.TLS, "answer": v.Answer, "login": v.Login} {
				if (err != nil) != (stage == test.stage) || err != nil && !strings.Contains(err.Error(), test.text) {
					t.Errorf("%s: %v, want %q of %q", stage, err, test.text, test.stage)
				}
				checkNoSecret(t, fmt.Sprint(err))
			}
			answered := test.stage == "" || test.stage == "login"
			if answered && (v.Latency <= 0 || v.Latency > testTimeout || v.Date.IsZero() || v.At.Sub(v.Date).Abs() > 5*time.Second) {
				t.Errorf("latency %v, clock %v at %v", v.Latency, v.Date, v.At)
			}
			if (v.User != "") != (answered && test.config.Username != "") {
				t.Errorf("user %q", v.User)
			}
			if (v.Session != nil) != (test.config.CA != "") || v.Proxy != "" {
				t.Errorf("session %v, proxy %q", v.Session, v.Proxy)
			}
		})
	}
}

// withoutRoot is a registry behind a proxy that does not forward the API root.
func withoutRoot(code int, next http.Handler) http.Handler {
	return on(func(r *http.Request) bool { return r.URL.Path == "/v2/" }, status(code), next)
}

// A probe does not affect lookups: no circuit opens.
func TestProbeLeavesCircuits(t *testing.T) {
	set := newSet(t, registry.Options{Registries: []registry.Config{{Address: "http://" + refusing(t)}}})
	for range 5 {
		if v := set.Probe(t.Context()); v[0].Connection == nil {
			t.Fatal("no error")
		}
	}
	if v := set.RuleResults(parse(t, "nginx:1.25")); v[0].Down != "" {
		t.Errorf("a circuit is open: %s", v[0].Down)
	}
	if answer := findOne(t, set, "nginx:1.25"); answer.Cached {
		t.Error("no registry was asked")
	}
}

// TestProbeOfDockerHub probes a host whose images all have a folder. The probe ends before it
// reaches the network.
func TestProbeOfDockerHub(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, address := range []string{"https://docker.io", "https://index.docker.io", "https://docker.io/mirror"} {
		set := newSet(t, registry.Options{Registries: []registry.Config{{Address: address}}})
		if probes := set.Probe(ctx); probes[0].Answer != nil && !errors.Is(probes[0].Answer, context.Canceled) {
			t.Errorf("probe of %s: %v", address, probes[0].Answer)
		}
	}
}

// Callers can inspect the cause of an error.
func TestProbeErrors(t *testing.T) {
	plain := serve(t, newStorage())
	probe := func(address string) registry.Probe {
		return newSet(t, registry.Options{Registries: []registry.Config{{Address: address, Match: []string{"*"}}}}).Probe(t.Context())[0]
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](probe(strings.Replace(plain.URL, "http:", "https:", 1)).TLS); !ok {
		t.Error("no tls.RecordHeaderError")
	}
	if _, ok := errors.AsType[*net.DNSError](probe("http://no-such-registry.invalid:1").Name); !ok {
		t.Error("no net.DNSError")
	}
}

// If the API root redirects to another host, no login is sent there.
func TestProbeRedirectedCarriesNoCredentials(t *testing.T) {
	other := serve(t, newStorage())
	server := serve(t, basicAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/v2/", http.StatusTemporaryRedirect)
	})))
	if v := newSetOf(t, server.URL).Probe(t.Context())[0]; v.Login != nil || v.Answer != nil {
		t.Errorf("%v, %v", v.Login, v.Answer)
	}
	if seen := other.seenAuthorizations(); len(seen) > 0 {
		t.Errorf("the other host got %d logins", len(seen))
	}
	if seen := server.seenAuthorizations(); len(seen) == 0 {
		t.Error("the registry itself got none")
	}
}
