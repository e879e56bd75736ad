package registry_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/reference"

	"image-cri-shim/registry"
)

// spellings returns different spellings of a host that are the same registry to
// distribution/reference and containerd.
func spellings(random *rand.Rand, host, scheme string) []string {
	name, port := host, ""
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		name, port = host[:colon], host[colon+1:]
	}
	names := []string{name}
	if name == "docker.io" {
		names = append(names, "index.docker.io", "registry-1.docker.io")
	}
	if strings.HasPrefix(name, "[") {
		long := netip.MustParseAddr(strings.Trim(name, "[]")).StringExpanded()
		names = append(names, "["+long+"]", "["+strings.ReplaceAll(long, ":0", ":")+"]")
	}
	ports := []string{""}
	switch {
	case port != "":
		ports = []string{":" + port, ":0" + port, ":000" + port}
	case scheme == "http":
		ports = append(ports, ":80", ":080")
	default:
		ports = append(ports, ":443", ":0443", ":000443")
	}
	var all []string
	for _, name := range names {
		for _, port := range ports {
			all = append(all, name+port, strings.ToUpper(name)+port, mixedCase(random, name)+port)
		}
	}
	return slices.DeleteFunc(all, func(host string) bool {
		named, err := reference.ParseNormalizedNamed(host + "/team/app")
		return err != nil || reference.Domain(named) != host && reference.Domain(named) != "docker.io"
	})
}

func mixedCase(random *rand.Rand, text string) string {
	mixed := []byte(text)
	for i, c := range mixed {
		if random.IntN(2) == 0 {
			mixed[i] = strings.ToUpper(string(c))[0]
		}
	}
	return string(mixed)
}

// decision returns everything that is decided about an image without asking a registry. Only
// the hosts of candidates are included, because their names may differ.
func decision(t *testing.T, set *registry.Set, image string) string {
	t.Helper()
	name := parse(t, image)
	var text strings.Builder
	for _, v := range set.RuleResults(name) {
		fmt.Fprintf(&text, "%s %v %s\n", v.Registry, v.Asked, v.Rule)
	}
	for _, c := range set.Candidates(name) {
		fmt.Fprintf(&text, "candidate of %s\n", c.Registry)
	}
	fmt.Fprintf(&text, "may fall back: %v\n", set.MayFallBack(name))
	return text.String()
}

// TestSpellingsAreAlike requires the same decision for all spellings of a host,
// in the image's name, in match and in a registry's address.
func TestSpellingsAreAlike(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 1))
	type host struct{ name, scheme string }
	known := []host{
		{"docker.io", "https"}, {"quay.io", "https"}, {"registry.example.com", "https"}, {"hub.example.com:5000", "https"},
		{"plain.example.com", "http"}, {"localhost", "http"}, {"localhost:5000", "http"}, {"10.0.0.7", "https"},
		{"[::1]", "http"}, {"[fd00::a1]:5000", "https"}, {"[fd00::b2]", "https"},
	}
	pick := func(list []string) string { return list[random.IntN(len(list))] }
	paths := []string{"app", "team/app", "tenant/app", "tenant/sub/app", "library/app"}
	endings := []string{"", ":1", "@" + digest, ":1@" + digest}
	configs := func(spell func(host) string) []registry.Config {
		var configs []registry.Config
		for i, h := range known {
			match := []string{"!" + strings.ToLower(spell(known[(i+1)%len(known)])) + "/tenant"}
			if i%2 == 0 {
				match = append(match, strings.ToLower(spell(known[(i+2)%len(known)])), "*.example.com:443", "[f]*")
			}
			fallback := registry.FallbackUnset
			if i%3 == 0 {
				fallback = registry.FallbackNever
			}
			configs = append(configs, registry.Config{Address: h.scheme + "://" + h.name + "/tenant", Match: match, Fallback: fallback, Priority: i % 4})
		}
		return configs
	}
	plainly := newSet(t, registry.Options{Registries: configs(func(h host) string { return h.name })})
	for range 20 {
		spelled := newSet(t, registry.Options{Registries: configs(func(h host) string { return pick(spellings(random, h.name, h.scheme)) })})
		for _, h := range known {
			rest := "/" + pick(paths) + pick(endings)
			want := patternsAside(decision(t, plainly, h.name+rest))
			for _, spelling := range spellings(random, h.name, h.scheme) {
				if got := decision(t, plainly, spelling+rest); patternsAside(got) != want {
					t.Fatalf("%s is decided\n%s\nand %s\n%s", spelling+rest, got, h.name+rest, want)
				}
				if got := patternsAside(decision(t, spelled, spelling+rest)); got != want {
					t.Fatalf("with match spelled otherwise %s is decided\n%s\nwant\n%s", spelling+rest, got, want)
				}
			}
		}
	}
}

// patternsAside removes the patterns, because they are shown as written.
func patternsAside(decision string) string {
	lines := strings.Split(decision, "\n")
	for i, line := range lines {
		for _, rule := range []string{"true match", "false match excludes its repository there:", "false match excludes"} {
			if before, _, found := strings.Cut(line, rule); found {
				lines[i] = before + rule
				break
			}
		}
	}
	return strings.Join(lines, "\n")
}

// TestOtherRegistriesAreNotAlike requires that hosts of different registries stay
// different.
func TestOtherRegistriesAreNotAlike(t *testing.T) {
	for _, test := range []struct{ address, image string }{
		{"https://registry.example.com", "registry.example.com:80/app"},
		{"http://plain.example.com", "plain.example.com:443/app"},
		{"https://registry.example.com", "registry.example.com.evil.org/app"},
		{"https://registry.example.com:5000", "registry.example.com/app"},
		{"https://[::1]", "[::2]/app"},
		{"https://docker.io:5000", "docker.io/team/app"},
	} {
		set := newSet(t, registry.Options{Registries: []registry.Config{{Address: test.address, Match: []string{"other.example.com"}}}})
		if got := set.Candidates(parse(t, test.image)); len(got) > 0 {
			t.Errorf("%s is taken to be on %s: %v", test.image, test.address, got)
		}
	}
}

// TestSpellingsKeepTheirNames requires that a lookup of every spelling finds the image, with
// a login from auth or authFile. The answer must have the name and the server address in the
// asked spelling, because containerd compares them.
func TestSpellingsKeepTheirNames(t *testing.T) {
	storage := newStorage()
	storage.push(t, "tenant/app:1")
	server := serve(t, basicAuth(storage))
	_, port, _ := strings.Cut(server.host(), ":")
	for _, key := range []string{server.host(), "http://" + server.host() + "/v2/", "127.0.0.1:0" + port, "[::ffff:7f00:1]:" + port + "/tenant"} {
		file := filepath.Join(t.TempDir(), "auth.json")
		writeAuthFile(t, file, object{"auths": object{key: encoded(username, password)}})
		for _, config := range []registry.Config{
			{Address: server.URL, Username: username, Password: password},
			{Address: server.URL, AuthFile: file},
		} {
			set := newSet(t, registry.Options{Registries: []registry.Config{config}})
			for _, host := range []string{server.host(), "127.0.0.1:0" + port, "[::ffff:7f00:1]:" + port} {
				answer := findOne(t, set, host+"/tenant/app:1")
				if answer.State != registry.Found || answer.Reference != host+"/tenant/app:1" || answer.Credentials.ServerAddress != "http://"+host || answer.Credentials.Password != password {
					t.Errorf("key %s, host %s: %+v, %v", key, host, answer, answer.Err)
				}
			}
		}
	}
}

// TestAuthFileWithTwoSpellings requires that the choice between two spellings of a key is
// deterministic.
func TestAuthFileWithTwoSpellings(t *testing.T) {
	storage := newStorage()
	storage.push(t, "tenant/app:1")
	server := serve(t, basicAuth(storage))
	file := filepath.Join(t.TempDir(), "auth.json")
	writeAuthFile(t, file, object{"auths": object{server.host(): encoded(username, password), "http://" + server.host(): encoded(username, "canary-other")}})
	for range 20 {
		set := newSet(t, registry.Options{Registries: []registry.Config{{Address: server.URL, AuthFile: file}}})
		if answer := findOne(t, set, server.host()+"/tenant/app:1"); answer.State != registry.Found {
			t.Fatalf("%+v, %v", answer, answer.Err)
		}
	}
}
