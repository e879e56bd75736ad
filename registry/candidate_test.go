package registry_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/distribution/reference"

	"image-cri-shim/registry"
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func references(candidates []registry.Candidate) []string {
	var references []string
	for _, candidate := range candidates {
		references = append(references, candidate.Reference)
	}
	return references
}

func TestCandidateReference(t *testing.T) {
	long := strings.Repeat("a/", 125) + "image" // 255 bytes, as long as a repository can be
	tests := []struct {
		name   string
		config registry.Config
		image  string
		want   string // empty: no candidate
	}{
		{"short name", registry.Config{Address: "http://sealos.hub:5000"}, "nginx:1.25", "sealos.hub:5000/library/nginx:1.25"},
		{"full name", registry.Config{Address: "http://sealos.hub:5000"}, "docker.io/library/nginx:1.25", "sealos.hub:5000/library/nginx:1.25"},
		{"latest", registry.Config{Address: "http://sealos.hub:5000"}, "nginx", "sealos.hub:5000/library/nginx:latest"},
		{"other domain", registry.Config{Address: "http://sealos.hub:5000"}, "registry.k8s.io/pause:3.9", "sealos.hub:5000/pause:3.9"},
		{"digest", registry.Config{Address: "http://sealos.hub:5000"}, "nginx@" + digest, "sealos.hub:5000/library/nginx@" + digest},
		{"digest wins", registry.Config{Address: "http://sealos.hub:5000"}, "nginx:1.25@" + digest, "sealos.hub:5000/library/nginx@" + digest},
		{"upper case host", registry.Config{Address: "http://Sealos.Hub:5000/"}, "nginx", "sealos.hub:5000/library/nginx:latest"},
		{"prefix", registry.Config{Address: "https://hub.example.com/a/mirror/"}, "nginx", "hub.example.com/a/mirror/library/nginx:latest"},
		{"template", registry.Config{Address: "https://hub.example.com", Path: "proxy/{path}"}, "nginx", "hub.example.com/proxy/library/nginx:latest"},
		{"prefix and template", registry.Config{Address: "https://hub.example.com/a", Path: "b/{path}"}, "nginx", "hub.example.com/a/b/library/nginx:latest"},
		{"domain", registry.Config{Address: "https://hub.example.com", Path: "{domain}/{path}"}, "nginx", "hub.example.com/docker.io/library/nginx:latest"},
		{"domain with port", registry.Config{Address: "https://hub.example.com", Path: "{domain}/{path}"}, "localhost:5000/app", "hub.example.com/localhost_5000/app:latest"},
		{"domain in upper case", registry.Config{Address: "https://hub.example.com", Path: "{domain}/{path}"}, "Quay.IO/a/b", "hub.example.com/quay.io/a/b:latest"},
		{"domain in IPv6", registry.Config{Address: "https://hub.example.com", Path: "{domain}/{path}"}, "[fd00::1]:5000/app", "hub.example.com/fd00__1_5000/app:latest"},
		{"loopback in IPv6", registry.Config{Address: "https://hub.example.com", Path: "{domain}/{path}"}, "[::1]:5000/app", "hub.example.com/1_5000/app:latest"},
		{"name", registry.Config{Address: "https://hub.example.com", Path: "team/{name}"}, "quay.io/a/b/app:1", "hub.example.com/team/app:1"},
		{"IPv6 registry", registry.Config{Address: "http://[::1]:5000"}, "nginx", "[::1]:5000/library/nginx:latest"},
		{"own host", registry.Config{Address: "http://sealos.hub:5000/mirror", Path: "x/{path}"}, "sealos.hub:5000/team/app:1", "sealos.hub:5000/team/app:1"},
		{"own host with prefix", registry.Config{Address: "http://sealos.hub:5000/mirror"}, "sealos.hub:5000/mirror/library/nginx:1", "sealos.hub:5000/mirror/library/nginx:1"},
		{"own host with tag and digest", registry.Config{Address: "http://sealos.hub:5000"}, "sealos.hub:5000/app:1@" + digest, "sealos.hub:5000/app@" + digest},
		{"Docker Hub", registry.Config{Address: "https://docker.io"}, "nginx", "docker.io/library/nginx:latest"},
		{"Docker Hub's index", registry.Config{Address: "https://index.docker.io"}, "nginx", "docker.io/library/nginx:latest"},
		{"Docker Hub for another domain", registry.Config{Address: "https://docker.io", Match: []string{"*"}}, "quay.io/a/b:1", "docker.io/a/b:1"},
		{"Docker Hub without match for another domain", registry.Config{Address: "https://docker.io"}, "quay.io/a/b:1", ""},
		{"another image on Docker Hub", registry.Config{Address: "https://docker.io", Match: []string{"*"}}, "quay.io/nginx", ""},
		{"too long", registry.Config{Address: "https://hub.example.com", Path: "proxy/{path}"}, "quay.io/" + long, ""},
		{"just short enough", registry.Config{Address: "https://hub.example.com", Path: "{path}"}, "quay.io/" + long, "hub.example.com/" + long + ":latest"},
		{"too long with its prefix", registry.Config{Address: "https://hub.example.com/prefix"}, "quay.io/" + long, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			set := newSet(t, registry.Options{Registries: []registry.Config{test.config}})
			got := strings.Join(references(set.Candidates(parse(t, test.image))), " ")
			if got != test.want {
				t.Errorf("candidates of %s: %q, want %q", test.image, got, test.want)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		name  string
		match []string
		image string
		want  bool
	}{
		{"no pattern", nil, "quay.io/a/b", true},
		{"domain", []string{"docker.io"}, "nginx", true},
		{"other domain", []string{"docker.io"}, "quay.io/a/b", false},
		{"half a domain", []string{"docker.io"}, "docker.io.example.com/a", false},
		{"repository", []string{"docker.io/library"}, "nginx", true},
		{"other repository", []string{"docker.io/library"}, "team/app", false},
		{"half an element", []string{"docker.io/lib"}, "nginx", false},
		{"whole name", []string{"docker.io/library/nginx"}, "nginx:1", true},
		{"longer than the name", []string{"docker.io/library/nginx/more"}, "nginx", false},
		{"wildcard", []string{"*.gcr.io/team"}, "eu.gcr.io/team/app", true},
		{"wildcard is one element", []string{"*/team"}, "eu.gcr.io/x/team/app", false},
		{"port", []string{"localhost:5000"}, "localhost:5000/app", true},
		{"second pattern", []string{"quay.io", "docker.io"}, "nginx", true},
		{"excluded", []string{"!docker.io/library/secret"}, "secret", false},
		{"not excluded", []string{"!docker.io/library/secret"}, "nginx", true},
		{"excludes win", []string{"docker.io", "!docker.io/library", "docker.io/library/nginx"}, "nginx", false},
		{"own host in spite of patterns", []string{"docker.io"}, "sealos.hub:5000/app", true},
		{"own host excluded", []string{"!sealos.hub:5000/app"}, "sealos.hub:5000/app", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			set := newSet(t, registry.Options{Registries: []registry.Config{{Address: "http://sealos.hub:5000", Match: test.match}}})
			if got := len(set.Candidates(parse(t, test.image))) == 1; got != test.want {
				t.Errorf("%s matches %q: %v, want %v", test.image, test.match, got, test.want)
			}
		})
	}
}

// TestMayBePreloaded requires that an image on the node under a registry's name counts as
// the original if the original is on docker.io or a pattern in match names it.
func TestMayBePreloaded(t *testing.T) {
	for _, test := range []struct {
		name       string
		registries []registry.Config
		image      string
		want       bool
	}{
		{"docker.io", []registry.Config{{Address: "http://hub.example.com"}}, "nginx", true},
		{"docker.io by digest", []registry.Config{{Address: "http://hub.example.com"}}, "nginx@" + digest, true},
		{"another", []registry.Config{{Address: "http://hub.example.com"}}, "quay.io/a/b", false},
		{"named by match", []registry.Config{{Address: "http://hub.example.com", Match: []string{"quay.io"}}}, "quay.io/a/b", true},
		{"not excluded by match", []registry.Config{{Address: "http://hub.example.com", Match: []string{"!quay.io/c"}}}, "quay.io/a/b", false},
		{"named for one of two with one reference", []registry.Config{
			{Address: "http://hub.example.com"}, {Address: "http://hub.example.com", Match: []string{"quay.io/a"}},
		}, "quay.io/a/b", true},
	} {
		candidates := newSet(t, registry.Options{Registries: test.registries}).Candidates(parse(t, test.image))
		if len(candidates) != 1 || candidates[0].MayBePreloaded != test.want {
			t.Errorf("%s: %+v, want one candidate with %v", test.name, candidates, test.want)
		}
	}
}

func TestTags(t *testing.T) {
	for _, test := range []struct {
		name  string
		tags  []string
		image string
		want  bool
	}{
		{"no pattern", nil, "nginx:1.25", true},
		{"excluded", []string{"!latest"}, "nginx:latest", false},
		{"excluded without being written", []string{"!latest"}, "nginx", false},
		{"not excluded", []string{"!latest"}, "nginx:1.25", true},
		{"included", []string{"1.*", "2.*"}, "nginx:2.0", true},
		{"not included", []string{"1.*", "2.*"}, "nginx:3.0", false},
		{"the whole tag", []string{"1"}, "nginx:1.25", false},
		{"exclusion wins", []string{"1.*", "!1.25*"}, "nginx:1.25-alpine", false},
		{"set of characters", []string{"v[0-9]"}, "nginx:v1", true},
		{"case counts", []string{"!LATEST"}, "nginx:latest", true},
		{"digest", []string{"1.*", "!*"}, "nginx@" + digest, true},
		{"digest and excluded tag", []string{"!latest"}, "nginx:latest@" + digest, true},
		{"on the registry's own host", []string{"!latest"}, "sealos.hub:5000/app:latest", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			set := newSet(t, registry.Options{Registries: []registry.Config{{Address: "http://sealos.hub:5000", Tags: test.tags}}})
			if got := len(set.Candidates(parse(t, test.image))) > 0; got != test.want {
				t.Errorf("%s with the tags %q is asked for: %v, want %v", test.image, test.tags, got, test.want)
			}
		})
	}
}

func TestCandidateOrder(t *testing.T) {
	set := newSet(t, registry.Options{Registries: []registry.Config{
		{Address: "http://low.example.com", Priority: 1},
		{Address: "http://first.example.com", Priority: 500, Username: "first", Password: password},
		{Address: "https://second.example.com", Priority: 500},
		{Address: "https://first.example.com", Priority: 500, Username: "again", Password: password},
		{Address: "http://high.example.com", Priority: 1000},
		{Address: "http://high.example.com/team", Priority: 2, Username: "team", Password: password},
	}})
	tests := []struct {
		image string
		want  []string
	}{
		{"nginx", []string{
			"high.example.com/library/nginx:latest", "first.example.com/library/nginx:latest",
			"second.example.com/library/nginx:latest", "high.example.com/team/library/nginx:latest",
			"low.example.com/library/nginx:latest",
		}},
		// The registry on the name's own host comes first only among equal priorities.
		{"low.example.com/app:1", []string{
			"high.example.com/app:1", "first.example.com/app:1", "second.example.com/app:1",
			"high.example.com/team/app:1", "low.example.com/app:1",
		}},
		{"second.example.com/app:1", []string{
			"high.example.com/app:1", "second.example.com/app:1", "first.example.com/app:1",
			"high.example.com/team/app:1", "low.example.com/app:1",
		}},
	}
	for _, test := range tests {
		if got := references(set.Candidates(parse(t, test.image))); !slices.Equal(got, test.want) {
			t.Errorf("candidates of %s:\n%q, want\n%q", test.image, got, test.want)
		}
	}
	// Of two registries on one host, the one with the prefix of the name is preferred.
	if got := set.Candidates(parse(t, "high.example.com/team/app")); !strings.HasSuffix(got[0].Registry, "/team") {
		t.Errorf("registry for a name under a prefix: %v, want the one with the prefix", got[0].Registry)
	}
	// Of two registries with the same reference, the first is used.
	if got := set.Candidates(parse(t, "nginx")); got[1].Registry != "http://first.example.com" {
		t.Errorf("registry of a reference of two registries: %v, want the first", got[1].Registry)
	}
}

func FuzzCandidates(f *testing.F) {
	for _, seed := range []string{
		"nginx", "nginx:1.25", "nginx@" + digest, "nginx:1.25@" + digest, "localhost:5000/a/b", "[::1]:5000/app",
		"Quay.IO/a", "sealos.hub:5000/app", "docker.io/x", "xn--a.b/c__d.e-f", "sha256:abc", "a/" + strings.Repeat("b/", 120) + "c",
	} {
		f.Add(seed)
	}
	set, err := registry.New(registry.Options{Registries: []registry.Config{
		{Address: "http://sealos.hub:5000"},
		{Address: "https://hub.example.com/a/b", Path: "{domain}/{path}"},
		{Address: "https://docker.io"},
		{Address: "http://[::1]:5000", Path: "x-{name}/{name}"},
		{Address: "http://localhost", Match: []string{"docker.io", "*.*", "!docker.io/library"}},
	}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(set.Close)
	f.Fuzz(func(t *testing.T, image string) {
		original, err := reference.ParseNormalizedNamed(image)
		if err != nil {
			t.Skip("not a reference")
		}
		for _, candidate := range set.Candidates(original) {
			named, err := reference.ParseNamed(candidate.Reference)
			if err != nil {
				t.Fatalf("candidate %q of %q: %v", candidate.Reference, image, err)
			}
			want := "latest"
			if tagged, ok := original.(reference.Tagged); ok {
				want = tagged.Tag()
			}
			got := ""
			if tagged, ok := named.(reference.Tagged); ok {
				got = tagged.Tag()
			}
			if digested, ok := original.(reference.Digested); ok {
				want = string(digested.Digest())
				got = string(named.(reference.Digested).Digest())
			}
			if got != want {
				t.Errorf("candidate %q of %q has %q, want %q", candidate.Reference, image, got, want)
			}
		}
	})
}
