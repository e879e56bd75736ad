package doctor

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// newestRules are the rules of the newest containerd.
var newestRules = hostsRulesOf("")

func TestHosts(t *testing.T) {
	way := func(scheme, host string) route {
		return route{scheme: scheme, host: host, path: "/v2", resolvesTags: true}
	}
	with := func(r route, change func(*route)) route {
		change(&r)
		return r
	}
	for _, test := range []struct {
		name, content string
		routes        []route
	}{
		{"nothing but a server", `server = "https://hub:5000"`, []route{way("https", "hub:5000")}},
		{"a server without a scheme", `server = "hub:5000"`, []route{way("https", "hub:5000")}},
		{"no server", `skip_verify = true`, []route{{skipVerify: true, resolvesTags: true}}},
		{
			"hosts in the order of the file",
			"server = \"http://z\"\n[host.\"https://b\"]\nca = \"b.pem\"\n[host.\"https://b\".header]\nauthorization = \"canary\"\n[host.\"http://a\"]\n",
			[]route{
				with(way("https", "b"), func(r *route) {
					r.caFiles, r.header = []string{"/certs/b.pem"}, http.Header{"Authorization": {"canary"}}
				}),
				way("http", "a"), way("http", "z"),
			},
		},
		{
			"several authorities and client certificates, and a host to push to",
			"server = \"https://z\"\nca = [\"/a.pem\", \"b.pem\"]\nclient = [\"c.pem\", [\"d.crt\", \"/d.key\"]]\n[host.\"https://push\"]\ncapabilities = [\"push\"]\n[host.\"https://pull\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
			[]route{
				with(way("https", "push"), func(r *route) { r.resolvesTags = false }), way("https", "pull"),
				with(way("https", "z"), func(r *route) {
					r.caFiles = []string{"/a.pem", "/certs/b.pem"}
					r.clientCertificates = [][2]string{{"/certs/c.pem", ""}, {"/certs/d.crt", "/d.key"}}
				}),
			},
		},
		{
			"paths",
			"server = \"https://z/v2\"\n[host.\"https://a/v2/proxy\"]\noverride_path = true\n[host.\"https://b/proxy/\"]\n",
			[]route{
				with(way("https", "a"), func(r *route) { r.path = "/v2/proxy" }),
				with(way("https", "b"), func(r *route) { r.path = "/proxy/v2" }), way("https", "z"),
			},
		},
		{
			"http with TLS settings, but at port 80",
			"server = \"http://z:80\"\nskip_verify = false\n[host.\"http://a:1\"]\nca = \"/a.pem\"\n",
			[]route{
				with(way("http", "a:1"), func(r *route) { r.httpFallback, r.caFiles = true, []string{"/a.pem"} }),
				way("http", "z:80"),
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseHosts("/certs", []byte(test.content), newestRules)
			if err != nil || !reflect.DeepEqual(got, test.routes) {
				t.Errorf("%+v, %v, want %+v", got, err, test.routes)
			}
		})
	}
	for _, content := range []string{
		"server = canary", "[host.\"http://canary:%zz@x\"]\n", "a = \"canary", "capabilities = [\"canary\"]",
		"server = [\"canary\"]", "[header]\ncanary = 1", "client = [[\"canary\"]]", "dial_timeout = \"canary\"", "host = \"canary\"",
	} {
		if _, err := parseHosts("/certs", []byte(content), newestRules); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", content, err)
		}
	}
}

// FuzzHosts requires that the routes of a parsed file end with that of the server, and that
// no error contains anything of the file.
func FuzzHosts(f *testing.F) {
	f.Add([]byte("server = \"http://z\"\n[host.\"https://b\"]\nca = \"b.pem\"\n"))
	f.Add([]byte("[host.\"http://a\".header]\nauthorization = \"Basic canary\"\n"))
	f.Add([]byte("ca = [[1]]\nhost.x.capabilities = [\"pull\"]"))
	f.Add([]byte("host = {a = {client = [[\"a\", \"b\"]]}}\n[[host]]\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, version := range []string{"1.6.20", "2.4.2"} {
			routes, err := parseHosts("/certs", content, hostsRulesOf(version))
			if err == nil && len(routes) == 0 {
				t.Error("no route")
			}
			if err != nil && len(err.Error()) > 80 {
				t.Errorf("a long error: %v", err)
			}
		}
	})
}

func TestHostsRules(t *testing.T) {
	oldest := hostsRules{needsTable: true}
	backports := hostsRules{needsTable: true, httpsOnLoopback: true, httpFallback: true}
	for version, want := range map[string]hostsRules{
		"1.5.18":      oldest,
		"1.6.20~ds1":  oldest,
		"1.6.25":      {needsTable: true, httpsOnLoopback: true},
		"1.6.39":      backports,
		"v1.7.0":      oldest,
		"1.7.8":       {needsTable: true, httpsOnLoopback: true},
		"1.7.31-k3s1": backports,
		"1.7.32":      {httpsOnLoopback: true, httpFallback: true},
		"v2.0.0":      {httpsOnLoopback: true, httpFallback: true, containerd2: true},
		"2.0.7":       {httpsOnLoopback: true, httpFallback: true, containerd2: true, dialTimeout: true},
		"2.1.0":       {httpsOnLoopback: true, httpFallback: true, containerd2: true, dialTimeout: true, transferService: true},
		"v2.4.2":      newestRules,
		"main":        newestRules,
	} {
		if got := hostsRulesOf(version); got != want {
			t.Errorf("%s: %+v, want %+v", version, got, want)
		}
	}
}

// TestContainerdRouting tests which file is used, and the defaults without a file.
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
	put("1/hub_5000_/hosts.toml", "server = \"http://hub:5000\"\n[host]")
	put("1/hub:5000/hosts.toml", `server = "https://wrong"`)
	put("2/hub:5000/hosts.toml", `server = "https://wrong"`)
	put("2/docker.io/hosts.toml", `[host."https://mirror"]`)
	put("2/certs.example/ca.crt", "")
	put("2/certs.example/a.cert", "")
	put("2/certs.example/b.cert", "")
	put("2/certs.example/b.key", "")
	put("2/old.example/hosts.toml", `server = "https://ignored"`)
	put("3/_default/hosts.toml", "server = \"https://everything\"\n[host]")
	const images = "version = 3\n[plugins.\"io.containerd.cri.v1.images\"%s]\n"
	put("config.toml", strings.Replace(images, "%s", ".registry", 1)+"config_path = \""+root+"/3\"\n")
	put("empty.toml", "version = 2\n")
	put("first.toml", "oom_score = 1\n")
	put("two.toml", strings.Replace(images, "%s", ".registry", 1)+"config_path = \""+root+"/2:"+root+"/3\"\n")
	put("local.toml", strings.Replace(images, "%s", "", 1)+"max_concurrent_downloads = 5\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \""+root+"/2:"+root+"/3\"\n")
	put("legacy.toml", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\ndiscard_unpacked_layers = true\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \""+root+"/2:"+root+"/3\"\n")
	n := &node{runtime: criServer{version: &cri.VersionResponse{RuntimeName: "containerd"}}}
	certificates := route{
		scheme: "https", host: "certs.example", path: "/v2", resolvesTags: true, caFiles: []string{root + "/2/certs.example/ca.crt"},
		clientCertificates: [][2]string{{root + "/2/certs.example/a.cert", ""}, {root + "/2/certs.example/b.cert", root + "/2/certs.example/b.key"}},
	}
	way := func(scheme, host string) route {
		return route{scheme: scheme, host: host, path: "/v2", resolvesTags: true}
	}
	local := func(scheme, host string, either, skipVerify bool) route {
		return route{scheme: scheme, host: host, path: "/v2", resolvesTags: true, httpFallback: either, skipVerify: skipVerify}
	}
	for _, test := range []struct {
		version             string
		folders, file, host string
		source              string
		ignored             string
		want                route // the last
	}{
		{"1.7.0", root + "/1:" + root + "/2", "", "hub:5000", "/1/hub_5000_/hosts.toml", "", way("http", "hub:5000")},
		{"1.7.0", root + "/1:" + root + "/2", "", "docker.io", "/2/docker.io/hosts.toml", "", way("https", "registry-1.docker.io")},
		{"1.7.0", root + "/2", "", "certs.example", "/2/certs.example/hosts.toml", "", certificates},
		{"1.7.0", root + "/2", "", "old.example", "/2/old.example/hosts.toml", "no table", way("https", "old.example")},
		{"1.7.0", root + "/2", "", "other.example", "containerd's default", "", way("https", "other.example")},
		{"2.4.2", "", "config.toml", "other.example", "/3/_default/hosts.toml", "", way("https", "everything")},
		{"2.4.2", "", "two.toml", "old.example", "/2/old.example/hosts.toml", "several folders", way("https", "old.example")},
		{"2.0.0", "", "two.toml", "old.example", "/2/old.example/hosts.toml", "", way("https", "ignored")},
		{"2.4.2", "", "local.toml", "old.example", "/2/old.example/hosts.toml", "", way("https", "ignored")},
		{"2.4.2", "", "legacy.toml", "old.example", "/2/old.example/hosts.toml", "", way("https", "ignored")},
		{"1.6.20", "", "", "127.0.0.1:5000", "containerd's default", "", local("http", "127.0.0.1:5000", false, true)},
		{"2.4.2", "", "", "127.0.0.1:5000", "containerd's default", "", local("http", "127.0.0.1:5000", true, true)},
		{"1.6.20", "", "", "localhost", "containerd's default", "", local("http", "localhost", false, true)},
		{"2.4.2", "", "", "localhost", "containerd's default", "", local("https", "localhost", false, true)},
		{"2.4.2", "", "", "[::1]:80", "containerd's default", "", local("http", "[::1]:80", false, false)},
	} {
		n.runtime.version.RuntimeVersion = test.version
		n.runtimeSettings.Registry.ConfigPath, n.Files.Containerd = test.folders, filepath.Join(root, test.file)
		got, err := n.containerdRouting(test.host)
		ignored := ""
		if got.ignoredErr != nil {
			ignored = got.ignoredErr.Error()
		}
		if err != nil || !strings.HasSuffix(got.source, test.source) || !strings.Contains(ignored, test.ignored) || (ignored == "") != (test.ignored == "") ||
			!reflect.DeepEqual(got.routes[len(got.routes)-1], test.want) {
			t.Errorf("%s in %s%s, containerd %s: %+v, %v", test.host, test.folders, test.file, test.version, got, err)
		}
	}
	// The default of two folders does not work with the transfer service, so the hint must
	// also set config_path.
	legacy, current := "[plugins.\"io.containerd.grpc.v1.cri\".registry]", "[plugins.\"io.containerd.cri.v1.images\".registry]"
	const restart = ", then `systemctl restart containerd`"
	for _, test := range []struct{ version, folders, file, also string }{
		{"2.4.2", "", "none.toml", ", then set config_path: `mkdir -p " + root + " && printf '%s\\n' 'version = 3' '" + current + "' 'config_path = \"/etc/containerd/certs.d\"' > " + root + "/none.toml`" + restart + " (one folder only)"},
		{"2.4.2", "", "two.toml", ", then set config_path = \"" + root + "/3\" in the table " + current + " of " + root + "/two.toml" + restart + " (one folder only)"},
		{"2.4.2", "", "local.toml", ""},
		{"2.1.0", "", "empty.toml", ", then set config_path: `printf '%s\\n' '' '" + legacy + "' 'config_path = \"/etc/containerd/certs.d\"' >> " + root + "/empty.toml`" + restart},
		{"1.6.20", "", "none.toml", ", then set config_path: `mkdir -p " + root + " && printf '%s\\n' 'version = 2' '" + legacy + "' 'config_path = \"/etc/containerd/certs.d\"' > " + root + "/none.toml`" + restart},
		{"1.6.20", "", "first.toml", ", then set config_path: `printf '%s\\n' '' '[plugins.\"cri\".registry]' 'config_path = \"/etc/containerd/certs.d\"' >> " + root + "/first.toml`" + restart},
		{"1.6.20", root + "/1:" + root + "/2", "none.toml", ""},
	} {
		n.runtime.version.RuntimeVersion = test.version
		n.runtimeSettings.Registry.ConfigPath, n.Files.Containerd = test.folders, filepath.Join(root, test.file)
		if got, err := n.containerdRouting("nowhere.invalid"); err != nil || got.moreHint != test.also {
			t.Errorf("containerd %s with %s%s: %q, %v, want %q", test.version, test.folders, test.file, got.moreHint, err, test.also)
		}
	}
	// A hint never names the folder for all hosts.
	n.runtimeSettings.Registry.ConfigPath = root + "/3"
	if got, err := n.containerdRouting("hub.example"); err != nil || !strings.Contains(got.httpHint, root+"/3/hub.example/hosts.toml") {
		t.Errorf("with a folder for all hosts: %q, %v", got.httpHint, err)
	}
	n.runtimeSettings.Registry.ConfigPath, n.Files.Containerd = "", ""
	n.runtimeSettings.Registry.Mirrors = map[string]json.RawMessage{"hub:5000": nil}
	if _, err := n.containerdRouting("hub:5000"); !errors.Is(err, errOldSettings) {
		t.Errorf("mirrors: %v", err)
	}
}
