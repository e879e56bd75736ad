package rewrite

import "testing"

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
