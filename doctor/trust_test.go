package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/config"
	"image-cri-shim/registry"
)

// TestTrustOfCRIO is about what registries.conf says of a registry. The same with
// containerd's hosts.toml, and certificates, are tested end to end.
func TestTrustOfCRIO(t *testing.T) {
	file := filepath.Join(t.TempDir(), "registries.conf")
	content := "[[registry]]\nlocation = \"insecure:1\"\ninsecure = true\n[[registry]]\nlocation = \"blocked:1\"\nblocked = true\n" +
		"[[registry]]\nlocation = \"mirrored:1\"\n[[registry.mirror]]\nlocation = \"mirror:1\"\n[[registry]]\nprefix = \"moved:1\"\nlocation = \"elsewhere:1\"\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	n := &node{
		Options: Options{Files: Files{Registries: file}},
		runtime: peer{version: &cri.VersionResponse{RuntimeName: "cri-o"}},
	}
	for _, test := range []struct {
		address string
		level   Level
		hint    string
	}{
		{"http://insecure:1", OK, ""},
		{"https://insecure:1", Warn, "/etc/containers/certs.d/insecure:1/ca.crt"},
		{"http://unknown:1", Fail, `add a [[registry]] with location = "unknown:1" and insecure = true to ` + file},
		{"http://mirrored:1", Fail, "insecure = true"},
		{"http://blocked:1", Fail, "let the runtime ask it"},
		{"https://moved:1", Warn, "ask the same host"},
	} {
		_, host, _ := strings.Cut(test.address, "://")
		got := n.trust(registry.Visit{Registry: test.address, Host: host}, config.Registry{})
		if len(got) != 1 || got[0].Level != test.level || !strings.Contains(got[0].Hint, test.hint) {
			t.Errorf("%s: %+v", test.address, got)
		}
	}
	unseen := registry.Visit{Registry: "https://unknown", Host: "unknown", Name: errors.New("no name")}
	if got := n.trust(unseen, config.Registry{}); len(got) > 0 {
		t.Errorf("without a certificate to look at: %+v", got)
	}
	n.runtime.version.RuntimeName = "other"
	if got := n.trust(unseen, config.Registry{}); len(got) != 1 || got[0].Level != Warn {
		t.Errorf("an unknown runtime: %+v", got)
	}
}

func TestWithPort(t *testing.T) {
	for host, want := range map[string]string{"hub": "hub:443", "hub:5000": "hub:5000", "[fd00::1]:5000": "[fd00::1]:5000", "[fd00::1]": "[fd00::1]:443"} {
		if got := withPort(host, false); got != want {
			t.Errorf("%s: %s", host, got)
		}
	}
}
