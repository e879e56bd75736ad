package hosts

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/distribution/reference"
)

func TestCanonical(t *testing.T) {
	for _, test := range []struct{ host, https, http string }{
		{"Registry.Example.com", "registry.example.com", "registry.example.com"},
		{"registry.example.com:443", "registry.example.com", "registry.example.com:443"},
		{"registry.example.com:0443", "registry.example.com", "registry.example.com:443"},
		{"registry.example.com:80", "registry.example.com:80", "registry.example.com"},
		{"registry.example.com:00080", "registry.example.com:80", "registry.example.com"},
		{"registry.example.com:5000", "registry.example.com:5000", "registry.example.com:5000"},
		{"registry.example.com:000", "registry.example.com:0", "registry.example.com:0"},
		{"LOCALHOST", "localhost", "localhost"},
		{"Hub", "hub", "hub"},
		{"docker.io", "docker.io", "docker.io"},
		{"Index.Docker.io:443", "docker.io", "index.docker.io:443"},
		{"REGISTRY-1.docker.io:0443", "docker.io", "registry-1.docker.io:443"},
		{"registry-1.docker.io:5000", "registry-1.docker.io:5000", "registry-1.docker.io:5000"},
		{"auth.docker.io", "auth.docker.io", "auth.docker.io"},
		{"[::1]", "[::1]", "[::1]"},
		{"[0:0:0:0:0:0:0:1]:0443", "[::1]", "[::1]:443"},
		{"[FD00:0000::00A1]:5000", "[fd00::a1]:5000", "[fd00::a1]:5000"},
		{"[::ffff:a00:7]:5000", "10.0.0.7:5000", "10.0.0.7:5000"},
		{"[::ffff:10.0.0.7]", "10.0.0.7", "10.0.0.7"},
		{"10.0.0.7:443", "10.0.0.7", "10.0.0.7:443"},
	} {
		if got := Canonical(test.host, "https"); got != test.https {
			t.Errorf("%s over https is %s, want %s", test.host, got, test.https)
		}
		if got := Canonical(test.host, "http"); got != test.http {
			t.Errorf("%s over http is %s, want %s", test.host, got, test.http)
		}
	}
}

// TestCanonicalIsStable requires that Canonical does not change a canonical form.
func TestCanonicalIsStable(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const characters = "aF.:[]01-4830"
	for range 20000 {
		var host strings.Builder
		for range 1 + random.IntN(14) {
			host.WriteByte(characters[random.IntN(len(characters))])
		}
		named, err := reference.ParseNormalizedNamed(host.String() + "/team/app")
		if err != nil || reference.Domain(named) != host.String() {
			continue // not a host of an image name
		}
		for _, scheme := range []string{"http", "https"} {
			once := Canonical(host.String(), scheme)
			if twice := Canonical(once, scheme); twice != once {
				t.Fatalf("%q over %s is %q, and that is %q", host.String(), scheme, once, twice)
			}
		}
	}
}

func TestPatternMatches(t *testing.T) {
	plain := PlainHTTP{}
	plain.Add("http://plain.example.com:80/prefix")
	plain.Add("https://secure.example.com:80")
	for _, test := range []struct {
		pattern, repository string
		want                bool
	}{
		{"registry.example.com", "Registry.Example.com:0443/a", true},
		{"registry.example.com:0443", "registry.example.com/a", true},
		{"registry.example.com:0443/a/b", "registry.example.com:443/a/b/c", true},
		{"registry.example.com:80", "registry.example.com/a", false},
		{"registry.example.com", "registry.example.com:80/a", false},
		{"plain.example.com", "plain.example.com:080/a", true},
		{"plain.example.com:80", "PLAIN.example.com/a", true},
		{"secure.example.com", "secure.example.com:80/a", false},
		{"secure.example.com:80", "secure.example.com:80/a", true},
		{"*.example.com", "registry.example.com:443/a", true},
		{"*.example.com:443", "registry.example.com/a", true},
		{"*.example.com:080", "plain.example.com/a", true},
		{"*.example.com:80", "registry.example.com/a", false},
		{"registry.example.com:4*", "registry.example.com/a", true},
		{"*.EXAMPLE.com", "registry.example.com/a", true},
		{"[::1]:5000/tenant", "[::1]:5000/tenant/app", true},
		{"[::1]:5000/tenant", "[0:0::0001]:05000/tenant/app", true},
		{"[0::1]:05000", "[::1]:5000/tenant/app", true},
		{"[::1]:5000", "[::2]:5000/tenant", false},
		{"[::1]:5000", "1:5000/tenant", false},
		{"[::1]", "[::1]:443/tenant", true},
		{"[fd00::*]:5000", "[fd00::12]:5000/tenant", true},
		{"[::1]:[0-9]*", "[::1]:5000/tenant", true},
		{"[::1]:*", "[::1]/tenant", true},
		{"[::ffff:a00:7]", "10.0.0.7/tenant", true},
		{"10.0.0.7:5000", "[::ffff:a00:7]:5000/tenant", true},
		{"[a-c]?:5000", "b1:5000/x", true},
		{"[^a].io", "b.io/x", true},
		{"docker.io/library", "Docker.io/nginx", true},
		{"index.docker.io/team", "docker.io/team/app", true},
		{"docker.io", "registry-1.docker.io:443/team/app", true},
		{"*.docker.io", "docker.io/team/app", true},
		{"registry-?.docker.io", "index.docker.io/team/app", true},
		{"*", "docker.io/team/app", true},
		{"docker.io/*/app", "docker.io/team/app", true},
		{"docker.io/team/app/more", "docker.io/team/app", false},
	} {
		pattern, err := plain.ParsePattern(test.pattern)
		if err != nil {
			t.Errorf("%s is rejected: %v", test.pattern, err)
			continue
		}
		if got := pattern.Matches(plain.Repository(test.repository)); got != test.want {
			t.Errorf("%s matches %s: %v, want %v (canonical %q)", test.pattern, test.repository, got, test.want, pattern.Elements())
		}
		if pattern.String() != test.pattern {
			t.Errorf("%s is printed as %s", test.pattern, pattern)
		}
	}
	for _, text := range []string{"", "a.io/", "a.io//b", "[", "a.io/[b", "[::1"} {
		if pattern, err := plain.ParsePattern(text); err == nil {
			t.Errorf("%q is parsed as %q, want an error", text, pattern.Elements())
		}
	}
}

func TestIsPublic(t *testing.T) {
	for host, want := range map[string]bool{
		"Registry-1.docker.io": true, "quay.io:443": true, "ghcr.io": true, "gcr.io": true, "eu.gcr.io": true,
		"registry.k8s.io": true, "mcr.microsoft.com": true, "public.ecr.aws": true, "registry.cn-hangzhou.aliyuncs.com": true,
		"europe-west1-docker.pkg.dev": true, "hub.example.com": false, "quay.io:5000": false, "quay.io.example.com": false,
		"1.dkr.ecr.eu-west-1.amazonaws.com": false, "localhost:5000": false, "acme.azurecr.io": false,
	} {
		if got := IsPublic(Canonical(host, "https")); got != want {
			t.Errorf("%s is public: %v, want %v", host, got, want)
		}
	}
}

func ExamplePattern() {
	plain := PlainHTTP{}
	pattern, err := plain.ParsePattern("registry.example.com/tenant")
	if err != nil {
		panic(err)
	}
	fmt.Println(pattern.Matches(plain.Repository("Registry.Example.com:443/tenant/app")))
	// Output: true
}
