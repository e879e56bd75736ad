package registry_test

import (
	"strings"
	"testing"

	"image-cri-shim/registry"
)

// TestExclusionProtectsItsTarget tries to reach repositories that match excludes.
func TestExclusionProtectsItsTarget(t *testing.T) {
	for _, test := range []struct {
		name    string
		config  registry.Config
		closed  []string // not asked for
		open    []string // asked for
		because string
	}{
		{
			"a name", registry.Config{Address: "https://hub.example.com", Match: []string{"!registry.example.com/tenant"}},
			[]string{"registry.example.com/tenant/app:1", "Registry.EXAMPLE.com/tenant/app:1", "registry.example.com:443/tenant/app", "registry.example.com:0443/tenant/app:1@" + digest},
			[]string{"registry.example.com/tenants/app", "tenant/app:1", "registry.example.com:5000/tenant/app"}, "match excludes !registry.example.com/tenant",
		},
		{
			"a target", registry.Config{Address: "https://hub.example.com", Match: []string{"!hub.example.com/tenant"}},
			[]string{
				"hub.example.com/tenant/app:1", "HUB.example.com:0443/tenant/app", "tenant/app", "tenant/app:1", "docker.io/tenant/app@" + digest,
				"index.docker.io/tenant/app:1@" + digest, "registry-1.docker.io/tenant/app", "quay.io/tenant/app:1", "Quay.io:443/tenant/app", "[::1]:5000/tenant/app", "quay.io/tenant",
			},
			[]string{"nginx:1", "team/tenant/app", "quay.io/tenants/app"}, "",
		},
		{
			"a target behind a prefix", registry.Config{Address: "https://hub.example.com/mirror", Path: "x/{domain}/{path}", Match: []string{"!hub.example.com:443/mirror/x/quay.io/tenant"}},
			[]string{"quay.io/tenant/app:1", "QUAY.io/tenant/app:1", "hub.example.com/mirror/x/quay.io/tenant/app:1"},
			[]string{"tenant/app:1", "hub.example.com/mirror/tenant/app:1"}, "",
		},
		{
			"a target by its last part", registry.Config{Address: "http://10.0.0.7", Path: "tenant/{name}", Match: []string{"!10.0.0.7:80/tenant/secret"}},
			[]string{"secret", "quay.io/a/secret@" + digest, "10.0.0.7/tenant/secret", "[::ffff:a00:7]/tenant/secret", "10.0.0.7:080/tenant/secret"},
			[]string{"app", "quay.io/secret/app"}, "",
		},
		{
			"a target in IPv6", registry.Config{Address: "http://[::1]:5000", Match: []string{"![::1]:5000/tenant"}},
			[]string{"[::1]:5000/tenant/app", "[0:0:0:0:0:0:0:1]:05000/tenant/app", "tenant/app"},
			[]string{"[::1]:5000/team/app", "team/app"}, "",
		},
		{
			"a target that is included as a name", registry.Config{Address: "https://hub.example.com", Match: []string{"quay.io/tenant", "!*.example.com/tenant"}},
			[]string{"quay.io/tenant/app", "hub.example.com/tenant/app"}, []string{"hub.example.com/team/app"}, "",
		},
		{
			"Docker Hub", registry.Config{Address: "https://hub.example.com", Match: []string{"!docker.io"}},
			[]string{"nginx", "team/app", "index.docker.io/nginx", "Docker.io/nginx", "registry-1.docker.io/team/app"},
			[]string{"quay.io/library/nginx", "hub.example.com/library/nginx"}, "match excludes !docker.io",
		},
		{
			"Docker Hub's own images", registry.Config{Address: "https://hub.example.com", Match: []string{"!docker.io/library"}},
			[]string{"nginx", "Docker.io/nginx", "INDEX.docker.io/nginx"}, []string{"team/app", "quay.io/library/nginx"}, "match excludes !docker.io/library",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			set := newSet(t, registry.Options{Registries: []registry.Config{test.config}})
			for _, image := range test.closed {
				if got := set.Candidates(parse(t, image)); len(got) > 0 {
					t.Errorf("%s is asked for as %v", image, got)
				}
				if rule := set.RuleResults(parse(t, image))[0].Rule; test.because != "" && rule != test.because {
					t.Errorf("%s: %s, want %s", image, rule, test.because)
				}
			}
			for _, image := range test.open {
				if got := set.Candidates(parse(t, image)); len(got) != 1 {
					t.Errorf("%s is not asked for: %v", image, set.RuleResults(parse(t, image)))
				}
			}
		})
	}
}

// TestPublicRegistry requires that a public registry without match is asked only for names
// on its own host, because the repository with the same path may belong to another owner.
func TestPublicRegistry(t *testing.T) {
	for _, address := range []string{
		"https://docker.io", "https://index.docker.io", "https://registry-1.docker.io", "https://quay.io:443", "https://ghcr.io", "https://gcr.io",
		"https://registry.k8s.io", "https://mcr.microsoft.com", "https://public.ecr.aws",
	} {
		for _, test := range []struct {
			match []string
			image string
			want  bool
		}{
			{nil, "example.com/team/app:1", false},
			{nil, "example.com/team/app@" + digest, false},
			{[]string{"!example.com/other"}, "example.com/team/app:1", false},
			{[]string{"*"}, "example.com/team/app:1", true},
			{[]string{"example.com/team"}, "example.com/team/app:1", true},
		} {
			set := newSet(t, registry.Options{Registries: []registry.Config{{Address: address, Match: test.match}}})
			if got := len(set.Candidates(parse(t, test.image))) == 1; got != test.want {
				t.Errorf("%s with match %q is asked for %s: %v, want %v", address, test.match, test.image, got, test.want)
			}
			_, host, _ := strings.Cut(address, "://")
			if len(set.Candidates(parse(t, host+"/team/app:1"))) != 1 {
				t.Errorf("%s with match %q is not asked for its own host", address, test.match)
			}
		}
	}
	set := newSet(t, registry.Options{Registries: []registry.Config{{Address: "https://docker.io", Fallback: registry.FallbackNever}}})
	if !set.MayFallBack(parse(t, "quay.io/team/app")) || set.MayFallBack(parse(t, "Docker.io/team/app")) {
		t.Error("fallback: never of a public registry must hold for its own host only")
	}
}
