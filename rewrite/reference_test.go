package rewrite

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	bare := strings.TrimPrefix(digest, "sha256:")
	for asked, want := range map[string]string{
		"nginx":                                   "docker.io/library/nginx:latest",
		"nginx:latest":                            "docker.io/library/nginx:latest",
		"docker.io/library/nginx":                 "docker.io/library/nginx:latest",
		"index.docker.io/nginx":                   "docker.io/library/nginx:latest",
		"nginx:1.25":                              "docker.io/library/nginx:1.25",
		"bitnami/nginx:1":                         "docker.io/bitnami/nginx:1",
		"localhost/nginx":                         "localhost/nginx:latest",
		"localhost:5000/nginx":                    "localhost:5000/nginx:latest",
		"127.0.0.1:5000/a/b/c:1":                  "127.0.0.1:5000/a/b/c:1",
		"[::1]:5000/a:1":                          "[::1]:5000/a:1",
		"registry.k8s.io/pause:3.9":               "registry.k8s.io/pause:3.9",
		"nginx@" + digest:                         "docker.io/library/nginx@" + digest,
		"nginx:1.25@" + digest:                    "docker.io/library/nginx@" + digest,
		"3f4a5b6c7d8e":                            "docker.io/library/3f4a5b6c7d8e:latest", // only the runtime knows whether it abbreviates an ID
		"sha256:latest":                           "docker.io/library/sha256:latest",       // not hexadecimal
		"a__b/c--d.e:" + strings.Repeat("t", 128): "docker.io/a__b/c--d.e:" + strings.Repeat("t", 128),
	} {
		t.Run(asked, func(t *testing.T) {
			name, err := Parse(asked)
			if err != nil {
				t.Fatal(err)
			}
			if got := name.String(); got != want {
				t.Errorf("means %s, want %s", got, want)
			}
		})
	}
	for _, id := range []string{digest, bare, "sha256:e3b0c4", "sha512:" + bare + bare, strings.Repeat("0", 64)} {
		if _, err := Parse(id); !errors.Is(err, ErrImageID) {
			t.Errorf("%s: error %v, want that it is an image ID", id, err)
		}
	}
	for _, malformed := range []string{
		"", " ", "Nginx", "nginx:", "nginx:a b", "/nginx", "nginx@sha256:12", "nginx@" + digest + "@" + digest,
		"http://nginx", "nginx:" + strings.Repeat("t", 129), strings.Repeat("x", 10_000), "nginx\x00", "\xff\xfe",
	} {
		if name, err := Parse(malformed); err == nil || errors.Is(err, ErrImageID) {
			t.Errorf("%.40q is taken for %v (%v)", malformed, name, err)
		}
	}
}

func TestRepositoryAndDomain(t *testing.T) {
	for canonical, want := range map[string][2]string{
		"docker.io/library/nginx:1.25":         {"docker.io/library/nginx", "docker.io"},
		"sealos.hub:5000/library/nginx:1.25":   {"sealos.hub:5000/library/nginx", "sealos.hub:5000"},
		"sealos.hub:5000/nginx@sha256:0123456": {"sealos.hub:5000/nginx", "sealos.hub:5000"},
		"[::1]:5000/nginx:1":                   {"[::1]:5000/nginx", "[::1]:5000"},
	} {
		if got := [2]string{repository(canonical), domain(canonical)}; got != want {
			t.Errorf("%s: %v, want %v", canonical, got, want)
		}
	}
}
