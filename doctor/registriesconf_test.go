package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestCRIORouting(t *testing.T) {
	root := t.TempDir()
	put := func(path, content string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("registries.conf", `unqualified-search-registries = ["docker.io"]
[[registry]]
location = "hub:5000"
[[registry]]
prefix = "quay.example.com"
location = "exact.internal"
[[registry]]
prefix = "*.example.com"
location = "mirror.internal/all"
[[registry]]
prefix = "*.com"
insecure = true
[[registry]]
location = "blocked.example"
blocked = true
[[registry]]
location = "mirrored.example"
[[registry.mirror]]
location = "first.example/mirror"
insecure = true
[[registry]]
location = "digests.example"
mirror-by-digest-only = true
[[registry.mirror]]
location = "first.example"
[[registry]]
location = "kinds.example/"
[[registry.mirror]]
location = "digests.example"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.example/"
pull-from-mirror = "tag-only"
[[registry]]
location = "twice.example"
insecure = true
[[registry]]
location = "twice.example"
[[registry]]
location = "hub.test/team"
insecure = true
`)
	put("registries.conf.d/10-hub.conf", "[[registry]]\nlocation = \"hub:5000\"\ninsecure = true\n")
	put("registries.conf.d/20-wide.conf", "[[registry]]\nprefix = \"*.com\"\nlocation = \"wide.internal\"\n")
	put("certs.d/secure.example/ca.crt", "")
	way := func(host string, insecure bool) route {
		return route{scheme: "https", host: host, path: "/v2", httpFallback: insecure, skipVerify: insecure, resolvesTags: true, sharesLogin: true}
	}
	in := func(r route, repository string) route {
		r.repository = repository
		return r
	}
	secure := way("secure.example", false)
	secure.caFiles = []string{root + "/certs.d/secure.example/ca.crt"}
	for _, test := range []struct {
		host, source string
		routes       []route
	}{
		{"hub:5000", "10-hub.conf", []route{way("hub:5000", true)}},
		{"quay.example.com", "registries.conf", []route{way("exact.internal", false)}},
		{"hub.example.com", "registries.conf", []route{in(way("mirror.internal", false), "all")}},
		{"hub.example.com/team/app", "registries.conf", []route{in(way("mirror.internal", false), "all/team/app")}},
		{"a.hub.example.com:5000", "registries.conf", []route{in(way("mirror.internal", false), "all:5000")}},
		{"other.com", "20-wide.conf", []route{way("wide.internal", false)}},
		{"blocked.example", "registries.conf", nil},
		{"mirrored.example", "registries.conf", []route{in(way("first.example", true), "mirror"), way("mirrored.example", false)}},
		{"mirrored.example/app", "registries.conf", []route{in(way("first.example", true), "mirror/app"), in(way("mirrored.example", false), "app")}},
		{"mirrored.example:5000", "registries.conf", []route{in(way("first.example", true), "mirror:5000"), way("mirrored.example:5000", false)}},
		{"digests.example", "registries.conf", []route{way("digests.example", false)}},
		{"kinds.example", "registries.conf", []route{way("tags.example", false), way("kinds.example", false)}},
		{"twice.example", "registries.conf", []route{way("twice.example", true)}},
		{"hub.test", "CRI-O's default", []route{way("hub.test", false)}},
		{"hub.test/team/app", "registries.conf", []route{in(way("hub.test", true), "team/app")}},
		{"hub.test/teams/app", "CRI-O's default", []route{in(way("hub.test", false), "teams/app")}},
		{"secure.example", "CRI-O's default", []route{secure}},
		{"docker.io", "CRI-O's default", []route{way("registry-1.docker.io", false)}},
	} {
		got, err := crioRouting(filepath.Join(root, "registries.conf"), []string{filepath.Join(root, "certs.d")}, test.host)
		if err != nil || !strings.HasSuffix(got.source, test.source) || !reflect.DeepEqual(got.routes, test.routes) {
			t.Errorf("%s: %+v, %v, want %+v", test.host, got, err, test.routes)
		}
	}
	for content, want := range map[string]string{
		"a = canary":                                "line 1",
		"[[registry]]\ninsecure = \"canary\"":       "line 2",
		"[[registry]]\nblocked = true":              "no location",
		"[[registry]]\nprefix = \"canary.example\"": "no location",
		"[[registry]]\nlocation = \"canary\"\n[[registry.mirror]]\npull-from-mirror = \"all\"":            "a mirror has no location",
		"[[registry]]\nlocation = \"x\"\n[[registry.mirror]]\nlocation = \"y\"\npull-from-mirror = \"z\"": "pull-from-mirror",
		"[[registry]]\nprefix = \"*.canary.com/x\"\nlocation = \"x\"":                                     "more than a host",
		"[registries.block]\nregistries = [\"canary\"]":                                                   "version 1",
	} {
		put("registries.conf.d/30-damaged.conf", content)
		_, err := crioRouting(filepath.Join(root, "registries.conf"), nil, "hub:5000")
		if !errors.Is(err, errFileRejected) || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "30-damaged.conf") {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
}
