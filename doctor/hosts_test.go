package doctor

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestHosts(t *testing.T) {
	for _, test := range []struct {
		name, content string
		routes        []route
	}{
		{"nothing but a server", `server = "https://hub:5000"`, []route{{scheme: "https", host: "hub:5000"}}},
		{"a server without a scheme", `server = "hub:5000"`, []route{{scheme: "https", host: "hub:5000"}}},
		{"no server", `skip_verify = true`, []route{{skipVerify: true}}},
		{
			"hosts in the order of the file",
			"server = \"http://z\"\n[host.\"https://b\"]\nca = \"b.pem\"\n[host.\"https://b\".header]\nauthorization = \"canary\"\n[host.\"http://a\"]\nskip_verify = true\n",
			[]route{{scheme: "https", host: "b", authorities: []string{"/certs/b.pem"}}, {scheme: "http", host: "a", skipVerify: true}, {scheme: "http", host: "z"}},
		},
		{
			"several authorities, and a host that is not pulled from",
			"server = \"https://z\"\nca = [\"/a.pem\", \"b.pem\"]\n[host.\"https://push\"]\ncapabilities = [\"push\"]\n[host.\"https://pull\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
			[]route{{scheme: "https", host: "pull"}, {scheme: "https", host: "z", authorities: []string{"/a.pem", "/certs/b.pem"}}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseHosts("/certs", []byte(test.content))
			if err != nil || !reflect.DeepEqual(got, test.routes) {
				t.Errorf("%+v, %v, want %+v", got, err, test.routes)
			}
		})
	}
	for _, content := range []string{"server = canary", "[host.\"http://canary:%zz@x\"]\n", "a = \"canary"} {
		if _, err := parseHosts("/certs", []byte(content)); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", content, err)
		}
	}
}

// FuzzHosts requires that what is read has a last route, for the server, and that
// no error shows anything of the file.
func FuzzHosts(f *testing.F) {
	f.Add([]byte("server = \"http://z\"\n[host.\"https://b\"]\nca = \"b.pem\"\n"))
	f.Add([]byte("[host.\"http://a\".header]\nauthorization = \"Basic canary\"\n"))
	f.Add([]byte("ca = [[1]]\nhost.x.capabilities = [\"pull\"]"))
	f.Fuzz(func(t *testing.T, content []byte) {
		routes, err := parseHosts("/certs", content)
		if err == nil && len(routes) == 0 {
			t.Error("no route")
		}
		if err != nil && len(err.Error()) > 80 {
			t.Errorf("a long error: %v", err)
		}
	})
}

// TestContainerdRouting is about which file counts, and what does without one.
func TestContainerdRouting(t *testing.T) {
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
	put("1/hub_5000_/hosts.toml", `server = "http://hub:5000"`)
	put("1/hub:5000/hosts.toml", `server = "https://wrong"`)
	put("2/hub:5000/hosts.toml", `server = "https://wrong"`)
	put("2/docker.io/hosts.toml", `[host."https://mirror"]`)
	put("2/certs.example/ca.crt", "")
	put("3/_default/hosts.toml", `server = "https://everything"`)
	put("config.toml", "version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \""+root+"/3\"\n")
	n := &node{runtime: peer{version: &cri.VersionResponse{RuntimeName: "containerd", RuntimeVersion: "1.7.0"}}}
	for _, test := range []struct {
		folders, file, host string
		source              string
		want                route // the last
	}{
		{root + "/1:" + root + "/2", "", "hub:5000", "/1/hub_5000_/hosts.toml", route{scheme: "http", host: "hub:5000"}},
		{root + "/1:" + root + "/2", "", "docker.io", "/2/docker.io/hosts.toml", route{scheme: "https", host: "registry-1.docker.io"}},
		{root + "/2", "", "certs.example", "/2/certs.example/hosts.toml", route{scheme: "https", host: "certs.example", authorities: []string{root + "/2/certs.example/ca.crt"}}},
		{root + "/2", "", "other.example", "containerd's default", route{scheme: "https", host: "other.example"}},
		{"", "config.toml", "other.example", "/3/_default/hosts.toml", route{scheme: "https", host: "everything"}},
		{"", "", "127.0.0.1:5000", "containerd's default", route{scheme: "https", host: "127.0.0.1:5000", either: true, skipVerify: true}},
		{"", "", "localhost", "containerd's default", route{scheme: "https", host: "localhost", skipVerify: true}},
	} {
		n.settings.Registry.ConfigPath, n.Files.Containerd = test.folders, filepath.Join(root, test.file)
		got, err := n.containerdRouting(test.host)
		if err != nil || !strings.HasSuffix(got.source, test.source) || !reflect.DeepEqual(got.routes[len(got.routes)-1], test.want) {
			t.Errorf("%s in %s%s: %+v, %v", test.host, test.folders, test.file, got, err)
		}
	}
	n.settings.Registry.ConfigPath, n.Files.Containerd = "", ""
	n.settings.Registry.Mirrors = map[string]json.RawMessage{"hub:5000": nil}
	if _, err := n.containerdRouting("hub:5000"); err == nil || !strings.Contains(err.Error(), "set config_path") {
		t.Errorf("mirrors: %v", err)
	}
}
