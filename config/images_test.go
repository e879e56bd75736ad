package config

import (
	"slices"
	"strings"
	"testing"
)

// TestPatternsThatMatchNothing requires a warning for each pattern that no image name can
// match, and none for the others.
func TestPatternsThatMatchNothing(t *testing.T) {
	for _, test := range []struct{ match, want string }{
		{"docker.io", ""}, {"'!docker.io:0443/team'", ""}, {"'[::1]:5000/team'", ""}, {"'![0:0::1]:05000'", ""}, {"'[fd00::*]'", ""},
		{"'[::ffff:10.0.0.7]:5000'", ""}, {"'[a-c]?:5000/[a-z:]*'", ""}, {"localhost", ""}, {"'*'", ""}, {"docker.io/a__b/c-d", ""},
		{"library", "begin with a host"},
		{"'!nginx'", "begin with a host"},
		{".gcr.io", `".gcr.io" is not a host`},
		{"a_b.example.com", "is not a host"},
		{"gcr.io.", "is not a host"},
		{"hub.local:http", "its port is not a number from 1 to 65535"},
		{"hub.local:0", "its port is not a number from 1 to 65535"},
		{"hub.local:65536", "its port is not a number from 1 to 65535"},
		{"'[::1::2]:5000'", "not an IPv6 address"},
		{"'![fd00::xyz]:5000'", "not an IPv6 address"},
		{"docker.io/library/nginx:1.25", "use the key tags"},
		{"'docker.io/library/nginx:1.*'", "use the key tags"},
		{"docker.io/-team", `"-team" can't be a part of a repository`},
		{"docker.io/a..b", `"a..b" can't be a part of a repository`},
		{"[docker.io/team, '!docker.io/team/app']", ""},
		{"[docker.io/team, '!index.docker.io']", `"docker.io/team" matches nothing: "!index.docker.io" excludes it; remove one of the two`},
		{"[docker.io, '!docker.io/*']", `"docker.io" matches nothing: "!docker.io/*" excludes it; remove one of the two`},
		{"'!registry.local:80'", "excludes all of this registry"},
		{"'!*.local'", "excludes all of this registry"},
		{"'!registry.local/mirror'", "excludes all of this registry"},
		{"'!registry.local/mirror/team'", ""},
		{"'!registry.local:5000'", ""},
	} {
		for _, data := range []string{
			"address: http://registry.local/mirror\nmatch: " + test.match + "\n",
			"registries:\n- address: http://registry.local:80/mirror\n  match: " + test.match + "\n",
		} {
			config, err := Parse("f", []byte(data))
			if err != nil {
				t.Errorf("%s: %v", test.match, err)
				continue
			}
			if test.want == "" && len(config.Warnings) > 0 || test.want != "" && (len(config.Warnings) != 1 || !strings.Contains(config.Warnings[0].String(), test.want)) {
				t.Errorf("%s: got the warnings %q, want %q", test.match, config.Warnings, test.want)
			}
		}
	}
}

// TestPublicRegistryIsDescribed requires that check lists the images for which a public
// registry is asked.
func TestPublicRegistryIsDescribed(t *testing.T) {
	for _, test := range []struct{ address, match, want string }{
		{"https://docker.io", "[]", `of its own host only, since it is public (with "*" in match: all)`},
		{"https://Registry-1.docker.io:443", "[]", "of its own host only"},
		{"quay.io", "'!docker.io'", `of its own host only, since it is public (with "*" in match: all), !docker.io`},
		{"quay.io", "['*', '!docker.io']", "*, !docker.io"},
		{"quay.io", "docker.io", "docker.io"},
		{"https://hub.example.com", "[]", "all"},
	} {
		config, err := Parse("f", []byte("registries:\n- address: "+test.address+"\n  match: "+test.match+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := config.Describe(&text); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(strings.Split(text.String(), "\n"), func(line string) bool {
			return strings.HasPrefix(strings.TrimSpace(line), "images ") && strings.Contains(line, test.want)
		}) {
			t.Errorf("%s, match %s: want %q in\n%s", test.address, test.match, test.want, text.String())
		}
	}
}

// TestOneRegistryInTwoSpellings requires a warning for an entry that repeats another one, and
// that an address is found in every spelling.
func TestOneRegistryInTwoSpellings(t *testing.T) {
	config, err := Parse("f", []byte("registries:\n- address: https://hub.local\n- address: https://HUB.local:0443/\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(config.Warnings) != 1 || !strings.Contains(config.Warnings[0].String(), "the same as") {
		t.Errorf("got the warnings %q, want one about the second entry", config.Warnings)
	}
	if r := config.Registries[0]; !r.HasAddress("https://hub.local:443") || r.HasAddress("http://hub.local:443") || r.HasAddress("https://hub.local/x") {
		t.Errorf("At of %v confuses addresses", r)
	}
}
