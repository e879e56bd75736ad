package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/config"
	"image-cri-shim/registry"
)

// TestTrustOfCRIO tests the findings for registries.conf of CRI-O. [TestHostsForms] is the
// equivalent for hosts.toml of containerd.
func TestTrustOfCRIO(t *testing.T) {
	b := newHostsFixture(t)
	file := filepath.Join(t.TempDir(), "registries.conf")
	n := &node{
		Options: Options{Settings: &config.Config{LookupTimeout: 10 * time.Second}, Files: Files{Registries: file, Certificates: []string{b.file("certs.d")}}},
		runtime: criServer{version: &cri.VersionResponse{RuntimeName: "cri-o"}},
	}
	examine := func(content, address string) Finding {
		t.Helper()
		if err := os.WriteFile(file, []byte(b.expand(content)), 0o600); err != nil {
			t.Fatal(err)
		}
		address = b.expand(address)
		_, host, _ := strings.Cut(address, "://")
		found := n.trustFindings(context.Background(), registry.Probe{Registry: address, Host: host}, config.Registry{})
		if len(found) != 1 {
			t.Fatalf("%q: %+v", content, found)
		}
		return found[0]
	}
	const entry = "[[registry]]\nlocation = \"%s\"\n"
	insecure := func(location string) string { return fmt.Sprintf(entry+"insecure = true\n", location) }
	mirrored := func(location, mirror string, more string) string {
		return fmt.Sprintf(entry+"[[registry.mirror]]\nlocation = \"%s\"\n%s", location, mirror, more)
	}
	for _, test := range []struct {
		name, content, address string
		level                  Level
		text, hint             string
	}{
		{"insecure", insecure("$HTTP"), "http://$HTTP", OK, "uses http, like the shim", ""},
		{"insecure TLS", insecure("$TLS"), "https://$TLS", Warn, "does not verify", "/etc/containers/certs.d/"},
		{"nothing said", "", "http://$HTTP", Fail, "uses https, but the shim does not", "insecure = true to " + file},
		{"untrusted", "", "https://$TLS", Fail, "does not trust the host's certificate", "ca.crt"},
		{"blocked", fmt.Sprintf(entry+"blocked = true\n", "$HTTP"), "http://$HTTP", Fail, "is blocked for the runtime", "remove blocked = true (version 1: its [registries.block] entry) from " + file},
		{"moved", "[[registry]]\nprefix = \"$HTTP\"\nlocation = \"$MIRROR\"\ninsecure = true\n", "http://$HTTP", Warn, "not from the registry's own host", "use the same host"},
		{"moved to a dead host", "[[registry]]\nprefix = \"$HTTP\"\nlocation = \"$DEAD\"\ninsecure = true\n", "http://$HTTP", Fail, "connection refused", "insecure = true"},
		{"mirror", mirrored("$HTTP", "$MIRROR", "insecure = true\n"), "http://$HTTP", Warn, "not from the registry's own host", "use the same host"},
		{"mirror for digests", mirrored("$HTTP", "$MIRROR", "insecure = true\npull-from-mirror = \"digest-only\"\n"), "http://$HTTP", Fail, "uses https, but the shim does not", "insecure = true"},
		{"dead mirror", insecure("$HTTP") + "[[registry.mirror]]\nlocation = \"$DEAD\"\n", "http://$HTTP", Warn, "at each pull first tries a route that fails: ", "remove it"},
		{"broken mirror alone", mirrored("$HTTP", "$BROKEN", "insecure = true\n"), "http://$HTTP", Fail, "500", "insecure = true"},
		{"version 1", "[registries.insecure]\nregistries = [\"$HTTP\"]\n", "http://$HTTP", OK, "uses http, like the shim", ""},
		{"both versions", "[registries.insecure]\nregistries = [\"$HTTP\"]\n" + insecure("$HTTP"), "http://$HTTP", Fail, "version 1", "correct the file"},
		{"a scheme", insecure("http://$HTTP"), "http://$HTTP", Fail, "rejects this file", "correct the file"},
		{"no TOML", "a = canary", "http://$HTTP", Fail, "line 1", "correct the file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := examine(test.content, test.address)
			if got.Level != test.level || !strings.Contains(got.Text, test.text) || !strings.Contains(got.Hint, test.hint) || strings.Contains(got.Text, "canary") {
				t.Errorf("%+v", got)
			}
		})
	}
	folder := filepath.Join(b.file("certs.d"), b.names["TLS"])
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(b.file("ca.pem"), filepath.Join(folder, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	if got := examine("", "https://$TLS"); got.Level != OK {
		t.Errorf("with its authority: %+v", got)
	}
	unseen := registry.Probe{Registry: "https://unknown", Host: "unknown", Name: errors.New("no name")}
	if got := n.trustFindings(context.Background(), unseen, config.Registry{}); len(got) > 0 {
		t.Errorf("without a registry to look at: %+v", got)
	}
	n.runtime.version.RuntimeName = "other"
	if got := n.trustFindings(context.Background(), unseen, config.Registry{}); len(got) != 1 || got[0].Level != Warn {
		t.Errorf("an unknown runtime: %+v", got)
	}
}

// TestRoutesAreBounded requires that at most routeLimit hosts of a file are probed.
func TestRoutesAreBounded(t *testing.T) {
	asked := make(chan struct{}, 100)
	server := &hostsFixture{names: map[string]string{}}
	server.serve(t, "HTTP", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		w.WriteHeader(http.StatusInternalServerError)
	}), nil)
	routes := make([]route, 3*routeLimit)
	for i := range routes {
		routes[i] = route{scheme: "http", host: server.names["HTTP"], path: "/v2", resolvesTags: true}
	}
	answers, err := probeRoutes(context.Background(), routes, "")
	if err != nil || len(asked) != routeLimit {
		t.Errorf("%d requests, %v, want %d", len(asked), err, routeLimit)
	}
	if last := answers[len(answers)-1]; last.err == nil {
		t.Error("a host that was not asked has answered")
	}
}

func TestWithPort(t *testing.T) {
	for host, want := range map[string]string{"hub": "hub:443", "hub:5000": "hub:5000", "[fd00::1]:5000": "[fd00::1]:5000", "[fd00::1]": "[fd00::1]:443"} {
		if got := withPort(host, false); got != want {
			t.Errorf("%s: %s", host, got)
		}
	}
}
