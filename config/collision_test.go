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
		want string // empty: no warning; the place and the sources otherwise
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
		{"names only, one host", hub + "match: [docker.io/a, docker.io/b]\npath: 'mirror/{name}'\n", ""},
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
			warned := slices.ContainsFunc(config.Warnings, func(w string) bool {
				return strings.Contains(w, test.want) && strings.Contains(w, "{domain} keeps them apart")
			})
			if warned != (test.want != "") || (test.want == "" && len(config.Warnings) > 0) {
				t.Errorf("got the warnings %q, want %q", config.Warnings, test.want)
			}
		})
	}
}
