package cluster

import (
	"net/url"
	"strings"
	"testing"
)

// TestConnect requires that the client verifies the apiserver with the service account's CA
// and sends its token.
func TestConnect(t *testing.T) {
	server := startAPIServer(t)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", address.Hostname())
	t.Setenv("KUBERNETES_SERVICE_PORT", address.Port())
	server.set(secretOf("one", nil))
	client, err := Connect(server.account(t, "the-token"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := WatchFiles(t.Context(), client, "ns", "Secret", "live")
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, files, "one")
	server.mu.Lock()
	defer server.mu.Unlock()
	if !server.tokens["the-token"] {
		t.Error("no request had the token")
	}
}

func TestConnectOutsideOfAPod(t *testing.T) {
	for _, test := range []struct{ host, account, want string }{
		{"", t.TempDir(), "KUBERNETES_SERVICE_HOST"},
		{"10.96.0.1", t.TempDir(), "automountServiceAccountToken"},
	} {
		t.Setenv("KUBERNETES_SERVICE_HOST", test.host)
		t.Setenv("KUBERNETES_SERVICE_PORT", "443")
		if _, err := Connect(test.account); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want %s", err, test.want)
		}
	}
}
