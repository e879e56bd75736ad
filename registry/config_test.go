package registry_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
		{"other scheme", registry.Config{Address: "ftp://hub.example.com"}, "http://"},
		{"no host", registry.Config{Address: "http:///prefix"}, "http(s)://"},
		{"host like a repository", registry.Config{Address: "http://hub"}, "a dot or a port"},
		{"credentials", registry.Config{Address: "http://" + username + ":" + password + "@hub.example.com"}, "credentials"},
		{"query", registry.Config{Address: good + "?a=b"}, "http(s)://"},
		{"bad URL", registry.Config{Address: "http://hub example.com"}, "http(s)://"},
		{"bad prefix", registry.Config{Address: good + "/UPPER"}, "prefix"},
		{"bad pattern", registry.Config{Address: good, Match: []string{"[a"}}, `"[a"`},
		{"bad tag", registry.Config{Address: good, Tags: []string{"[a"}}, `"[a"`},
		{"bad fallback", registry.Config{Address: good, Fallback: "always"}, `"always"`},
		{"empty tag", registry.Config{Address: good, Tags: []string{"!"}}, `"!"`},
		{"empty pattern", registry.Config{Address: good, Match: []string{"!"}}, `"!"`},
		{"unknown placeholder", registry.Config{Address: good, Path: "{path}/{tag}"}, "{tag}"},
		{"constant path", registry.Config{Address: good, Path: "{domain}/x"}, "{name}"},
		{"upper case path", registry.Config{Address: good, Path: "X/{path}"}, "lower-case"},
		{"path with a tag", registry.Config{Address: good, Path: "{path}:1"}, "{path}:1"},
		{"password without user", registry.Config{Address: good, Password: password}, "no user name"},
		{"no CA", registry.Config{Address: good, CA: empty + ".missing"}, empty + ".missing"},
		{"empty CA", registry.Config{Address: good, CA: empty}, "no certificate"},
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
	if _, err := registry.New(registry.Options{LookupTimeout: -time.Second}); err == nil {
		t.Error("a negative time-out was accepted")
	}
}
