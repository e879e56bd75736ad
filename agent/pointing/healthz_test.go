package pointing

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/clients"
)

// TestHealthzURL requires the address and port of kubelet's configuration and flags.
func TestHealthzURL(t *testing.T) {
	const config, dropIn, flags, k3s = "var/lib/kubelet/config.yaml", "drop/10.conf", "etc/default/kubelet", "etc/rancher/k3s/config.yaml"
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"default":               {nil, "http://127.0.0.1:10248/healthz"},
		"configuration":         {map[string]string{config: "healthzPort: 1024\nhealthzBindAddress: 10.0.0.1\n"}, "http://10.0.0.1:1024/healthz"},
		"JSON":                  {map[string]string{config: `{"healthzPort": 1024}`}, "http://127.0.0.1:1024/healthz"},
		"disabled":              {map[string]string{config: "healthzPort: 0\n"}, ""},
		"disabled by a flag":    {map[string]string{config: "healthzPort: 5\n", flags: "KUBELET_EXTRA_ARGS=--healthz-port=0\n"}, ""},
		"all addresses":         {map[string]string{config: "healthzBindAddress: 0.0.0.0\n"}, "http://127.0.0.1:10248/healthz"},
		"all addresses, IPv6":   {map[string]string{config: "healthzBindAddress: '::'\n"}, "http://[::1]:10248/healthz"},
		"a drop-in":             {map[string]string{config: "healthzPort: 1\n", dropIn: "healthzPort: 2\n", flags: "A=\"--config-dir=ROOT/drop\"\n"}, "http://127.0.0.1:2/healthz"},
		"flags":                 {map[string]string{flags: "A=\"--v=2 --healthz_port 3 --healthz-bind-address=::1\"\n# --healthz-port=4\n"}, "http://[::1]:3/healthz"},
		"k3s":                   {map[string]string{k3s: "kubelet-arg:\n- \"healthz-port=10300\"\n"}, "http://127.0.0.1:10300/healthz"},
		"an unknown port":       {map[string]string{flags: "A=--healthz-port=$PORT\n"}, "error: kubelet's healthz port \"$PORT\""},
		"a port that is a word": {map[string]string{config: "healthzPort: many\n"}, "error: ROOT/" + config + ": "},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			expand := strings.NewReplacer("ROOT", root)
			for file, content := range test.files {
				path := filepath.Join(root, file)
				_ = os.MkdirAll(filepath.Dir(path), 0o700)
				if err := os.WriteFile(path, []byte(expand.Replace(content)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := healthzURL(clients.DefaultPaths(root).Node())
			if err != nil {
				got = "error: " + err.Error()
			}
			want := expand.Replace(test.want)
			if got != want && !(strings.HasPrefix(want, "error") && strings.HasPrefix(got, want)) {
				t.Errorf("URL %s, want %s", got, want)
			}
		})
	}
}

// TestCheckHealthz requires an error unless the endpoint answers with 200.
func TestCheckHealthz(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer server.Close()
	for url, want := range map[string]bool{"": true, server.URL + "/healthz": true, server.URL + "/x": false, "http://127.0.0.1:1/healthz": false} {
		if err := checkHealthz(t.Context(), url); (err == nil) != want {
			t.Errorf("%q: %v", url, err)
		}
	}
}
