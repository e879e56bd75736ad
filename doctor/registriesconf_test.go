package doctor

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestCRIORouting(t *testing.T) {
	root := t.TempDir()
	put := func(path, content string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("registries.conf", `unqualified-search-registries = ["docker.io"]
[[registry]]
location = "hub:5000"
[[registry]]
prefix = "*.example.com"
location = "mirror.internal/all"
[[registry]]
location = "blocked.example"
blocked = true
[[registry]]
location = "mirrored.example"
[[registry.mirror]]
location = "first.example/mirror"
insecure = true
`)
	put("registries.conf.d/10-hub.conf", "[[registry]]\nlocation = \"hub:5000\"\ninsecure = true\n")
	put("certs.d/secure.example/ca.crt", "")
	for _, test := range []struct {
		host, source string
		routes       []route
	}{
		{"hub:5000", "10-hub.conf", []route{{scheme: "https", host: "hub:5000", either: true, skipVerify: true}}},
		{"quay.example.com", "registries.conf", []route{{scheme: "https", host: "mirror.internal"}}},
		{"blocked.example", "registries.conf", []route{}},
		{"mirrored.example", "registries.conf", []route{{scheme: "https", host: "first.example", either: true, skipVerify: true}, {scheme: "https", host: "mirrored.example"}}},
		{"secure.example", "CRI-O's default", []route{{scheme: "https", host: "secure.example", authorities: []string{root + "/certs.d/secure.example/ca.crt"}}}},
		{"docker.io", "CRI-O's default", []route{{scheme: "https", host: "registry-1.docker.io"}}},
	} {
		got, err := crioRouting(filepath.Join(root, "registries.conf"), []string{filepath.Join(root, "certs.d")}, test.host)
		if err != nil || !strings.HasSuffix(got.source, test.source) || !reflect.DeepEqual(got.routes, test.routes) {
			t.Errorf("%s: %+v, %v, want %+v", test.host, got, err, test.routes)
		}
	}
	put("registries.conf.d/20-damaged.conf", "a = canary")
	if _, err := crioRouting(filepath.Join(root, "registries.conf"), nil, "hub:5000"); err == nil || strings.Contains(err.Error(), "canary\"") || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a damaged file: %v", err)
	}
}
