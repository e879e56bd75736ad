package registry_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/registry"
)

func TestNewRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const good = "https://hub.example.com"
	tests := []struct {
		name   string
		config registry.Config
		want   string // in the error
	}{
		{"no address", registry.Config{}, "http(s)://"},
		{"no scheme", registry.Config{Address: "hub.example.com"}, "http(s)://"},
		{"other scheme", registry.Config{Address: "ftp://hub.example.com"}, "http(s)://"},
		{"no host", registry.Config{Address: "http:///prefix"}, "http(s)://"},
		{"host like a repository", registry.Config{Address: "http://hub"}, "host"},
		{"credentials", registry.Config{Address: "http://" + username + ":" + password + "@hub.example.com"}, "an address with credentials"},
		{"query", registry.Config{Address: good + "?a=b"}, "http(s)://"},
		{"bad URL", registry.Config{Address: "http://hub example.com"}, "http(s)://"},
		{"bad prefix", registry.Config{Address: good + "/UPPER"}, "prefix"},
		{"bad pattern", registry.Config{Address: good, Match: []string{"[a"}}, `"[a"`},
		{"empty pattern", registry.Config{Address: good, Match: []string{"!"}}, `"!"`},
		{"no CA", registry.Config{Address: good, CA: empty + ".missing"}, empty + ".missing"},
		{"empty CA", registry.Config{Address: good, CA: empty}, "no PEM certificate"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := registry.New(registry.Options{Registries: []registry.Config{{Address: "http://localhost"}, test.config}})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "registry 2") {
				t.Errorf("error %v, want one about registry 2 with %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), password) {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}
