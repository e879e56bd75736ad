package config

import (
	"slices"
	"strings"
	"testing"
)

func TestCollisions(t *testing.T) {
	const hub = "address: http://hub.local\n"
	for _, test := range []struct {
		name string
		data string
		want string // empty: no warning; otherwise the place and the sources
	}{
		{"two hosts", hub + "match: [docker.io, quay.io]\n", `f:2: match: "docker.io" and "quay.io"`},
		{"two hosts, kept apart", hub + "match: [docker.io, quay.io]\npath: '{domain}/{path}'\n", ""},
		{"different paths", hub + "match: [docker.io/library, quay.io/team]\n", ""},
		{"one path within the other", hub + "match: [docker.io/team, quay.io/team/app]\n", `"docker.io/team" and "quay.io/team/app"`},
		{"wildcard in a path", hub + "match: [docker.io/team-*, quay.io/team-a]\n", `"docker.io/team-*" and "quay.io/team-a"`},
		{"one host", hub + "match: [docker.io/a, docker.io/b]\n", ""},
		{"wildcard host alone", hub + "match: '*.gcr.io'\n", ""},
		{"everything", hub, ""},
		{"exclusions are no source", hub + "match: ['docker.io', '!quay.io']\n", ""},
		{"wildcards in a path", hub + "match: [docker.io/team-*, 'quay.io/*-a']\n", `"docker.io/team-*" and "quay.io/*-a"`},
		{"different wildcards in a path", hub + "match: [docker.io/a*, 'quay.io/b*']\n", ""},
		{"a wildcard and a host", hub + "match: ['*.gcr.io', eu.gcr.io]\n", `"*.gcr.io" and "eu.gcr.io"`},
		{"a wildcard and a host, kept apart", hub + "match: ['*.gcr.io', eu.gcr.io]\npath: '{domain}/{path}'\n", ""},
		{"excluded here", hub + "match: [docker.io, '!docker.io/team', quay.io/team]\n", ""},
		{"excluded there", hub + "match: [docker.io/team, quay.io, '!quay.io/team']\n", ""},
		{"excluded by a wildcard", hub + "match: [docker.io, '!docker.io/t*', quay.io/team]\n", ""},
		{"excluded where they would be", hub + "match: [docker.io/team, quay.io/team, '!hub.local/team']\n", ""},
		{"excluded where they would be, by its port", hub + "match: [docker.io/team, quay.io/team, '!hub.local:80/team']\n", ""},
		{"excluded where some would be", hub + "match: [docker.io, quay.io, '!hub.local/team']\n", `"docker.io" and "quay.io"`},
		{"one host in two spellings", hub + "match: [docker.io/team, 'index.docker.io:0443/team']\n", ""},
		{"one registry in two spellings", hub + "match: docker.io\nregistries:\n- address: http://HUB.local:80\n  match: quay.io\n", `"docker.io" and "quay.io"`},
		{"something else excluded", hub + "match: [docker.io, '!docker.io/team/app', quay.io/team]\n", `"docker.io" and "quay.io/team"`},
		{"excluded in another entry", hub + "match: [docker.io, '!docker.io/team']\nregistries:\n- address: http://hub.local\n  match: quay.io/team\n", ""},
		{"names only, repositories", hub + "match: [docker.io/a/app, docker.io/b/web]\npath: 'mirror/{name}'\n", ""},
		{"names only, parts of one host", hub + "match: [docker.io/a, docker.io/b]\npath: 'mirror/{name}'\n", `"docker.io/a" and "docker.io/b"`},
		{"names of hosts", hub + "match: [docker.io/a, quay.io/a]\npath: '{domain}/{name}'\n", ""},
		{"names of hosts, one host", hub + "match: [docker.io/a, docker.io/b]\npath: '{domain}/{name}'\n", `"docker.io/a" and "docker.io/b"`},
		{"a name and a path", hub + "match: docker.io/a/app\npath: 'mirror/{name}'\nregistries:\n- address: http://hub.local/mirror\n  match: quay.io/app\n", `"docker.io/a/app" and "quay.io/app"`},
		{"a prefix and a path", hub + "match: docker.io\npath: 'a/{path}'\nregistries:\n- address: https://hub.local/a\n  match: quay.io\n", `"docker.io" and "quay.io"`},
		{"a repository and a path", hub + "match: docker.io/a\nregistries:\n- address: http://hub.local/a\n  match: quay.io\n", `"docker.io/a" and "quay.io"`},
		{"a path in another", hub + "match: docker.io\nregistries:\n- address: http://hub.local/quay\n  match: quay.io\n", ""},
		{"different text after the path", hub + "match: docker.io\npath: '{path}/a'\nregistries:\n- address: http://hub.local\n  match: quay.io\n  path: '{path}/b'\n", ""},
		{"different text before the path", hub + "match: docker.io\npath: 'a-{path}'\nregistries:\n- address: http://hub.local\n  match: quay.io\n  path: 'b-{path}'\n", ""},
		{"a registry in IPv6", "address: http://[fd00::1]:5000\nmatch: [docker.io, quay.io]\n", `"docker.io" and "quay.io"`},
		{"names only, the same name", hub + "match: [docker.io/a/app, docker.io/b/app]\npath: 'mirror/{name}'\n", `"docker.io/a/app" and "docker.io/b/app"`},
		{"names only, hosts", hub + "match: [docker.io, quay.io/a]\npath: 'mirror/{name}'\n", `"docker.io" and "quay.io/a"`},
		{"two entries", hub + "match: docker.io\nregistries:\n- address: http://hub.local\n  match: quay.io\n", `f:5: registries[0].match: "docker.io" and "quay.io"`},
		{"two entries, other paths", hub + "match: docker.io\nregistries:\n- address: http://hub.local\n  match: quay.io\n  path: 'quay/{path}'\n", ""},
		{"two registries", hub + "match: docker.io\nregistries:\n- address: http://other.local\n  match: quay.io\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			config, err := Parse("f", []byte(test.data))
			if err != nil {
				t.Fatal(err)
			}
			warned := slices.ContainsFunc(lines(config.Warnings), func(w string) bool {
				return strings.Contains(w, test.want) && strings.Contains(w, "{domain} and {path} keeps them apart")
			})
			if warned != (test.want != "") || (test.want == "" && len(config.Warnings) > 0) {
				t.Errorf("got the warnings %q, want %q", config.Warnings, test.want)
			}
		})
	}
}

// A path without {path} maps several names to one, except if match has a single part of a
// single host.
func TestNamesOfManyRepositories(t *testing.T) {
	for _, test := range []struct {
		match, path string
		want        bool
	}{
		{"[]", "mirror/{name}", true},
		{"['!docker.io/secret']", "mirror/{name}", true},
		{"docker.io", "mirror/{name}", true},
		{"docker.io", "{domain}/{name}", true},
		{"'docker.io/*'", "mirror/{name}", true},
		{"'*.gcr.io/team'", "mirror/{name}", true},
		{"'*.gcr.io/team'", "{domain}/{name}", false},
		{"docker.io/library", "mirror/{name}", false},
		{"docker.io/library/nginx", "mirror/{name}", false},
		{"docker.io", "mirror/{path}", false},
		{"docker.io", "{name}/{path}", false},
	} {
		for place, data := range map[string]string{
			"f:3: path: ":               "address: http://hub.local\nmatch: " + test.match + "\npath: '" + test.path + "'\n",
			"f:4: registries[0].path: ": "registries:\n- address: http://hub.local\n  match: " + test.match + "\n  path: '" + test.path + "'\n",
		} {
			config, err := Parse("f", []byte(data))
			if err != nil {
				t.Fatal(err)
			}
			warned := slices.ContainsFunc(lines(config.Warnings), func(w string) bool { return strings.HasPrefix(w, place+"{name} is only") })
			if warned != test.want || len(config.Warnings) > 1 {
				t.Errorf("%s %s: got the warnings %q, want one: %v", test.match, test.path, config.Warnings, test.want)
			}
		}
	}
}
