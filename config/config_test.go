package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const testdata = "../testdata/config"

func load(t *testing.T, name string) *Config {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata, name))
	if err != nil {
		t.Fatal(err)
	}
	config, err := Parse(name, data)
	if err != nil {
		t.Fatalf("%s is refused: %v", name, err)
	}
	return config
}

// defaults is the configuration of a file without keys, except for warnings.
func defaults() Config {
	return Config{
		Shim:           "/var/run/image-cri-shim.sock",
		Engine:         EngineFrames,
		Names:          NamesAuto,
		Fallback:       FallbackOriginal,
		Timeout:        15 * time.Minute,
		LookupTimeout:  3 * time.Second,
		StateDirectory: "/var/lib/image-cri-shim",
		Drain:          30 * time.Second,
		ReloadInterval: 15 * time.Second,
		Cache:          Cache{ImageCacheSize: 1024, ImageCacheTTL: 5 * time.Minute, AbsentTTL: 30 * time.Second},
	}
}

func TestFiles(t *testing.T) {
	hub := Registry{Address: "http://sealos.hub:5000", Username: "admin", Password: "passw0rd", Priority: 1000, Path: "{path}", Main: true}

	first := defaults()
	first.Runtime, first.Force = "/run/containerd/containerd.sock", true
	first.Registries = []Registry{hub}

	original := first
	original.Debug = true
	original.Cache.ImageCacheTTL = 30 * time.Minute
	original.Registries = []Registry{hub,
		{Address: "http://172.18.1.38:5000", Username: "admin", Password: "passw0rd", Priority: 800, Path: "{path}"},
	}
	original.Warnings = warned(
		"original.yaml:10: version: has no effect here; it may stay",
		"original.yaml:11: sync: has no effect here; it may stay",
		"original.yaml:12: registry.d: has no effect here; it may stay",
		"original.yaml:17: cache.domainCacheTTL: has no effect here; it may stay",
		"original.yaml:18: cache.statsLogInterval: has no effect here; it may stay",
		"original.yaml:19: cache.disableStats: has no effect here; it may stay",
	)

	later := defaults()
	later.Runtime, later.Force = "/run/containerd/containerd.sock", true
	later.Registries = []Registry{
		{Address: "https://docker.io", Priority: 1000, Path: "{path}", Main: true},
		{Address: "https://registry.example.com", Username: "robot$team", Password: "a:b:c", Priority: 500, Path: "{path}"},
		{Address: "http://[fd00::10]:5000/mirror", Priority: 500, Path: "{path}"},
	}

	// Values of the original's ConfigMap. Here the main address and the maps of credentials
	// have other places.
	configMap := defaults()
	configMap.Cache.ImageCacheSize, configMap.Cache.ImageCacheTTL = -1, 30*time.Minute
	configMap.Registries = []Registry{
		{Address: "http://sealos.hub:5000", Username: "admin", Password: "passw0rd", Priority: 900, Path: "{path}", Main: true},
		{Address: "https://docker.io", Username: "dockeruser", Password: "dockerpass", Priority: 600, Path: "{path}"},
		{Address: "https://docker.io", Priority: 500, Path: "{path}"},
		{Address: "https://fast-registry.io", Username: "user", Priority: 1200, Path: "{path}"},
	}
	configMap.Warnings = warned(
		"original-configmap.yaml:1: version: has no effect here; it may stay",
		"original-configmap.yaml:14: registries[1].address: the path /v2 is the registry's API and is ignored; if its repositories do begin with v2, set path: \"v2/{path}\"",
		"original-configmap.yaml:14: registries[1]: address, path, match and tags are the same as those of registries[0]; change or remove this entry",
		"original-configmap.yaml:17: registries[2].auth: found no password, so an empty one is sent to the registry; add a password",
		"original-configmap.yaml:26: cache.domainCacheTTL: has no effect here; it may stay",
		"original-configmap.yaml:27: cache.statsLogInterval: has no effect here; it may stay",
		"original-configmap.yaml:28: cache.disableStats: has no effect here; it may stay",
	)

	full := Config{
		Shim: "/run/shim/shim.sock", Runtime: "/run/crio/crio.sock", Engine: EngineGRPC, Names: NamesLedger, Fallback: FallbackNever, Force: true, Debug: true, Metrics: "[::1]:9465", PProf: true,
		Timeout: 90 * time.Minute, LookupTimeout: 500 * time.Millisecond,
		StateDirectory: "/srv/shim", Drain: time.Minute, ReloadInterval: 2 * time.Minute, TraceBuffer: 512 << 10,
		Cache: Cache{ImageCacheSize: 16, ImageCacheTTL: time.Minute, AbsentTTL: 2 * time.Second},
		Registries: []Registry{
			{Address: "https://hub.example.com:8443/mirror", Username: "admin", Password: "pass:w0rd", Priority: 900,
				Match: []string{"docker.io"}, Tags: []string{"!latest"}, Path: "dockerhub/{path}", CA: "/etc/ssl/hub.pem", Main: true},
			{Address: "https://10.0.0.7", Username: "robot", Password: "hunter2", Priority: 950,
				Match: []string{"*.gcr.io/team", "!quay.io/secret"}, Path: "{domain}/{name}", CA: "/etc/ssl/other.pem", Fallback: FallbackOriginal},
			{Address: "https://localhost", Priority: 500, Path: "{path}", InsecureSkipVerify: true},
		},
	}

	aliases := defaults()
	second := Registry{Address: "http://10.0.0.7:5000", Username: "admin", Password: "passw0rd", Priority: 500, Path: "{path}"}
	aliases.Registries = []Registry{hub, second, second}
	aliases.Warnings = warned("aliases.yaml:7: registries[1]: address, path, match and tags are the same as those of registries[0]; change or remove this entry")

	for name, want := range map[string]Config{
		"original-first.yaml":     first,
		"original.yaml":           original,
		"original-later.yaml":     later,
		"original-configmap.yaml": configMap,
		"full.yaml":               full,
		"aliases.yaml":            aliases,
	} {
		if got := load(t, name); !reflect.DeepEqual(comparable(got), want) {
			t.Errorf("%s is read as\n%s\nwant\n%s", name, withPasswords(got), withPasswords(&want))
		}
	}
}

// warned returns warnings with their whole lines as texts.
func warned(lines ...string) (warnings []Message) {
	for _, line := range lines {
		warnings = append(warnings, Message{Text: line})
	}
	return warnings
}

// comparable returns a configuration without positions, and its warnings as by warned.
func comparable(c *Config) Config {
	plain := *c
	plain.file, plain.places, plain.Warnings = "", nil, warned(lines(c.Warnings)...)
	return plain
}

// withPasswords formats a configuration with its passwords, which are test data.
func withPasswords(c *Config) string {
	var text bytes.Buffer
	c.Describe(&text)
	for _, r := range c.Registries {
		text.WriteString(r.Address + " " + r.Username + ":" + r.Password + "\n")
	}
	return text.String()
}

func TestDefaults(t *testing.T) {
	for _, data := range []string{
		"", "\n", "# only a comment\n", "---\n", "~", "{}",
		"shim:\ncri: ~\nengine:\nfallback:\nforce: null\ndebug:\nmetrics:\npprof:\ntimeout:\nlookupTimeout:\ndrain:\nimage:\nreloadInterval:\ntraceBuffer:\ncache:\n" +
			"address:\nauth:\nofflinePriority:\nmatch:\ntags:\npath:\nca:\ninsecureSkipVerify:\nregistries:\n",
		"shim: ''\ncri: ''\nfallback: ''\nmetrics: ''\ntimeout: ''\ntraceBuffer: ''\nimage: ''\naddress: ''\nauth: ''\nmatch: ''\ntags: ''\npath: ''\nca: ''\nregistries: []\n",
		"timeout: 0\nlookupTimeout: 0s\ndrain: 0s\nreloadInterval: 0m\nofflinePriority: 0\n" +
			"traceBuffer: 0\ncache: {imageCacheSize: 0, imageCacheTTL: 0, absentTTL: 0}\n",
	} {
		config, err := Parse("f", []byte(data))
		if err != nil {
			t.Errorf("%q is refused: %v", data, err)
			continue
		}
		want := defaults()
		want.Warnings = warned("f: neither address nor registries is set; set address, or every image comes from the registry in its name")
		if strings.Contains(data, "offlinePriority: 0") {
			want.Warnings = append(want.Warnings, warned("f:5: offlinePriority: has no effect without address; set address, or remove it")...)
		}
		if !reflect.DeepEqual(comparable(config), want) {
			t.Errorf("%q is read as\n%s%q", data, withPasswords(config), config.Warnings)
		}
	}
}

func TestWarnings(t *testing.T) {
	for _, test := range []struct{ data, want string }{
		{"version: {any: [thing]}\naddress: hub.local", "f:1: version: has no effect here; it may stay"},
		{"sync:\naddress: hub.local", "f:1: sync: has no effect here; it may stay"},
		{"address: hub.local\nofflinePriority: 10001", "f:2: offlinePriority: 10001 is above 10000 and counts as 10000; set a priority from 0 to 10000"},
		{"address: http://hub.local/v2/", `f:1: address: the path /v2 is the registry's API and is ignored; if its repositories do begin with v2, set path: "v2/{path}"`},
		{"registries: [{address: 'https://index.docker.io/v1/'}]", `f:1: registries[0].address: the path /v1 is the registry's API and is ignored; if its repositories do begin with v1, set path: "v1/{path}"`},
		{"address: hub.local\nauth: adminhunter2", "f:2: auth: found no password, so an empty one is sent to the registry; add a password"},
		{"address: hub.local\nauth: 'admin:'", "f:2: auth: found no password, so an empty one is sent to the registry; add a password"},
		{"address: hub.local\nauth: {username: admin}", "f:2: auth: found no password, so an empty one is sent to the registry; add a password"},
		{"sealos:\n  auth: {username: admin, password: pw}", "f: neither address nor registries is set; set address, or every image comes from the registry in its name\nf:2: sealos.auth: has no effect without address; set address, or remove it"},
		{"address: hub.local\nreloadInterval: -5s\ncache: {imageCacheTTL: -30m}", "f:2: reloadInterval: \"-5s\" is negative and counts as not set; set a positive duration, or remove it\nf:3: cache.imageCacheTTL: \"-30m\" is negative and counts as not set; set a positive duration, or remove it"},
		{"registries:\n- address: hub.local\n  priority: -3", "f:3: registries[0].priority: -3 is below 0 and counts as 0; set a priority from 0 to 10000"},
		{"registries: [{address: hub.local}]\nauth: admin:pw", "f:2: auth: has no effect without address; set address, or remove it"},
		{"registries: [{address: hub.local}]\npath: x/{path}", "f:2: path: has no effect without address; set address, or remove it"},
		{"address: http://hub.local\nca: /ca.pem", "f:2: ca: has no effect with an http:// address; remove it"},
		{"address: http://hub.local\ninsecureSkipVerify: true", "f:2: insecureSkipVerify: has no effect with an http:// address; remove it"},
		{"address: hub.local\nca: /ca.pem\ninsecureSkipVerify: true", "f:2: ca: has no effect with insecureSkipVerify; remove one of them"},
		{"address: hub.local\nregistries:\n- address: HTTPS://HUB.local/", "f:3: registries[0]: address, path, match and tags are the same as the top level's; change or remove this entry"},
		{"address: hub.local\nmatch: [library/nginx]", "f:2: match[0]: \"library/nginx\" matches nothing: patterns begin with a host, such as docker.io"},
		// Entries with different path or match are not duplicates, and http without TLS keys is
		// not a mistake.
		{"address: http://hub.local\nregistries:\n- address: http://hub.local\n  path: x/{path}\n- address: http://hub.local\n  match: quay.io\n  insecureSkipVerify: false", ""},
	} {
		config, err := Parse("f", []byte(test.data))
		if err != nil {
			t.Errorf("%q is refused: %v", test.data, err)
		} else if got := strings.Join(lines(config.Warnings), "\n"); got != test.want {
			t.Errorf("%q\n got %s\nwant %s", test.data, got, test.want)
		}
	}
}

func TestPriorities(t *testing.T) {
	for _, test := range []struct {
		data string
		want int
	}{
		{"address: hub.local", 1000},
		{"address: hub.local\nofflinePriority: 0", 1000},
		{"address: hub.local\nofflinePriority: 7", 7},
		{"address: hub.local\nofflinePriority: -7", 0},
		{"address: hub.local\nofflinePriority: 5000", 5000},
		{"address: hub.local\nofflinePriority: 10001", 10000},
		{"registries: [{address: hub.local}]", 500},
		{"registries: [{address: hub.local, priority: 0}]", 500},
		{"registries: [{address: hub.local, priority: 1}]", 1},
		{"registries: [{address: hub.local, priority: -1}]", 0},
		{"registries: [{address: hub.local, priority: 10000}]", 10000},
		{"registries: [{address: hub.local, priority: 15000}]", 10000},
	} {
		config, err := Parse("f", []byte(test.data))
		if err != nil {
			t.Errorf("%q is refused: %v", test.data, err)
		} else if got := config.Registries[0].Priority; got != test.want {
			t.Errorf("%q has priority %d, want %d", test.data, got, test.want)
		}
	}
}

func TestLoadWarnsOfOpenFile(t *testing.T) {
	const withCredentials = "address: http://hub.local\nauth: admin:hunter2\n"
	for _, test := range []struct {
		data string
		mode os.FileMode
		want string // %s is the file
	}{
		{withCredentials, 0o600, ""},
		{withCredentials, 0o644, "%s: holds credentials and is open to all users (mode 0644); do: chmod o= %s"},
		{withCredentials, 0o640, ""},
		{"address: http://hub.local\n", 0o644, ""},
		{"address: http://hub.local\n", 0o666, "%s: every user can change where images come from (mode 0666); do: chmod o-w %s"},
	} {
		path := filepath.Join(t.TempDir(), "shim.yaml")
		if err := os.WriteFile(path, []byte(test.data), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		config, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.ReplaceAll(test.want, "%s", path)
		if got := strings.Join(lines(config.Warnings), "\n"); got != want {
			t.Errorf("mode %o: got %q, want %q", test.mode, got, want)
		}
	}
}

func TestLoadWarnsOfAuthFile(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "auth.json")
	path := filepath.Join(folder, "shim.yaml")
	configuration := "address: http://hub.local\nauthFile: " + file + "\nregistries:\n- address: http://other.local\n"
	if err := os.WriteFile(path, []byte(configuration), 0o644); err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		config, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(lines(config.Warnings), "\n"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	expect(path + ":2: authFile: " + file + " can't be read, so its registries can't be asked: no such file or directory; create the file or make it readable")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("")
	for mode, want := range map[os.FileMode]string{
		0o640: "",
		0o644: path + ":2: authFile: " + file + " holds credentials and is open to all users (mode 0644); do: chmod o= " + file,
	} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		expect(want)
	}
}

// TestLoadWarnsOfHiddenFiles requires a warning with the place of each file that ProtectHome=true
// in the packaged unit hides, also behind a symbolic link.
func TestLoadWarnsOfHiddenFiles(t *testing.T) {
	home := t.TempDir()
	former := hiddenFolders
	hiddenFolders = []string{"/root", "/home", home}
	defer func() { hiddenFolders = former }()
	folder := t.TempDir()
	link := filepath.Join(folder, "link.pem")
	for _, err := range []error{os.WriteFile(filepath.Join(home, "ca.pem"), nil, 0o600), os.Symlink(filepath.Join(home, "ca.pem"), link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(folder, "shim.yaml")
	content := "address: https://hub.local\nca: /root/none/ca.pem\nregistries:\n- address: https://a.local\n  authFile: /home/none/auth.json\n  ca: " + link +
		"\n- address: https://b.local\n  ca: /roots/ca.pem\n"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	const text = " (ProtectHome); move it to /etc/image-cri-shim/"
	got := strings.Join(lines(config.Warnings), "\n")
	for _, want := range []string{
		":2: ca: the packaged service can't see /root" + text,
		":5: registries[0].authFile: the packaged service can't see /home" + text,
		":6: registries[0].ca: the packaged service can't see " + home + text,
	} {
		if !strings.Contains(got, path+want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if number := strings.Count(got, "ProtectHome"); number != 3 {
		t.Errorf("%d warnings:\n%s", number, got)
	}
}

func TestLoadFails(t *testing.T) {
	folder := t.TempDir()
	missing := filepath.Join(folder, "missing.yaml")
	if _, err := Load(missing); err == nil || err.Error() != missing+": can't be read: no such file or directory; name the configuration with --file, or start from the example "+exampleFile {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Load(folder); err == nil || err.Error() != folder+": can't be read: is a directory" {
		t.Errorf("a folder: %v", err)
	}
	large := filepath.Join(folder, "large.yaml")
	if err := os.WriteFile(large, bytes.Repeat([]byte("# large\n"), 1<<18), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(large); err == nil || err.Error() != large+": is larger than 1 MiB, the limit for a configuration" {
		t.Errorf("a large file: %v", err)
	}
}

// TestDocumentListsKeys requires docs/configuration.md to name every key that has an effect.
func TestDocumentListsKeys(t *testing.T) {
	document, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"unknown: 1", "registries: [{address: hub.local, unknown: 1}]", "cache: {unknown: 1}"} {
		_, err := Parse("f", []byte(file))
		if err == nil {
			t.Fatalf("%s is accepted", file)
		}
		problems, _ := errors.AsType[Problems](err)
		for _, key := range problems[0].Keys {
			if !strings.Contains(string(document), "`"+key) {
				t.Errorf("docs/configuration.md does not name the key %q", key)
			}
		}
	}
}
