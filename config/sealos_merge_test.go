package config

import (
	"os"
	"strings"
	"testing"
)

// TestMergeSealos compares results with those of sealos' own sync, except that comments stay.
func TestMergeSealos(t *testing.T) {
	const node = `# The node's file.
shim: /run/shim.sock # its socket
cri: /run/containerd/containerd.sock

# The registry.
address: http://old.hub:5000
auth: admin:0ld
ca: /etc/hub.pem
timeout: 5m
reloadInterval: 1m
registries:
- address: gone.local
lookupTimeout: 2s
`
	for _, test := range []struct{ name, file, registries, want string }{
		{"no ConfigMap", node, "", node},
		{"blank", node, " \n\n", node},
		{"comments only", node, "# nothing yet\n", node},
		{"nothing at all", "", "", ""},
		{"all keys", node, `version: v1
offlinePriority: 900
sealos:
  address: http://sealos.hub:5000
  auth:
    username: admin
    password: passw0rd
registries:
  - address: docker.io
    auth: {username: u, password: "p:q"}
    priority: 10000 # first
  - address: quay.io
reloadInterval: 30s
force: true
debug: false
timeout: 15m
cache:
  imageCacheSize: -1
  imageCacheTTL: 30m
  domainCacheTTL: 10m
`, `# The node's file.
shim: /run/shim.sock # its socket
cri: /run/containerd/containerd.sock
# The registry.
address: http://sealos.hub:5000
auth:
  username: admin
  password: passw0rd
ca: /etc/hub.pem
timeout: 15m
reloadInterval: 30s
registries:
  - address: docker.io
    auth: {username: u, password: "p:q"}
    priority: 10000 # first
  - address: quay.io
lookupTimeout: 2s
offlinePriority: 900
force: true
debug: false
cache:
  imageCacheSize: -1
  imageCacheTTL: 30m
`},
		{"empty values keep those of the file", "address: hub.local\nauth: a:b\nforce: true\ntimeout: 5m\n",
			"sealos: {address: '', auth: {username: '', password: ' '}}\nforce: null\ntimeout: \"\"\nregistries: [{address: r.local}]\n",
			"address: hub.local\nauth: a:b\nforce: true\ntimeout: 5m\nregistries: [{address: r.local}]\n"},
		{"registries and reloadInterval go if absent", "address: hub.local\nreloadInterval: 1m\nregistries: [{address: r.local}]\n", "debug: true\n", "address: hub.local\ndebug: true\n"},
		{"null registries", "address: hub.local\nregistries: [{address: r.local}]\n", "registries:\n", "address: hub.local\n"},
		{"a list without registries", "address: hub.local\nregistries: [{address: r.local}]\n", "registries: []\n", "address: hub.local\n"},
		{"the string form of auth", "", "sealos:\n  address: hub.local\n  auth: a:b\n", "address: hub.local\nauth: a:b\n"},
		{"the ConfigMap's text in the file", "sealos:\n  address: old.local\n  auth: a:b\ndebug: true\n", "sealos:\n  address: new.local\n  auth: c:d\n", "debug: true\naddress: new.local\nauth: c:d\n"},
		{"nothing changes", "# as written\n\nsealos: {address: hub.local}\nregistries:\n    - address: r.local\n", "sealos:\n  address: hub.local\nregistries: [{address: r.local}]\n",
			"# as written\n\nsealos: {address: hub.local}\nregistries:\n    - address: r.local\n"},
		{"caches are merged key by key", "address: hub.local\ncache: {absentTTL: 1s, imageCacheTTL: 1m}\n", "cache: {imageCacheTTL: 2m, statsLogInterval: 1m}\n", "address: hub.local\ncache: {absentTTL: 1s, imageCacheTTL: 2m}\n"},
		{"an empty cache", "address: hub.local\ncache: # c\n", "cache: {imageCacheSize: 5}\n", "address: hub.local\ncache: # c\n  imageCacheSize: 5\n"},
		{"retired keys of caches stay behind", "address: hub.local\n", "cache: {statsLogInterval: 1m}\ndebug: true\n", "address: hub.local\ndebug: true\n"},
		{"a file of comments", "# a\n\n#address: hub.local", "sealos: {address: hub.local}", "# a\n\n#address: hub.local\naddress: hub.local\n"},
		{"the node's keys stay", "shim: /run/a.sock\n", "shim: /run/b.sock\nsealos: {address: hub.local}\n", "shim: /run/a.sock\naddress: hub.local\n"},
		{"keys of this program", "", "sealos: {address: hub.local}\nregistries: [{address: r.local, fallback: never, ca: /etc/a.pem}]\n", "address: hub.local\nregistries: [{address: r.local, fallback: never, ca: /etc/a.pem}]\n"},
		{"aliases of a replaced value", "address: &a hub.local\nregistries: [{address: *a, path: 'x/{path}'}]\nmatch: [&m docker.io]\n", "sealos: {address: new.local}\nregistries: [&r {address: a.local, path: &m 'y/{path}'}, {address: b.local, path: *m}]\n",
			"address: new.local\nregistries: [{address: a.local, path: 'y/{path}'}, {address: b.local, path: 'y/{path}'}]\nmatch: [docker.io]\n"},
		{"a flow mapping", "{address: hub.local, debug: true}", "debug: false\nregistries:\n# r\n- address: r.local # r\n", "address: hub.local\ndebug: false\nregistries:\n  # r\n  - address: r.local # r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			merged, _, err := MergeSealos(Source{"f", []byte(test.file)}, Source{"registries.yaml", []byte(test.registries)})
			if err != nil || string(merged) != test.want {
				t.Fatalf("got (%v)\n%s\nwant\n%s", err, merged, test.want)
			}
			again, _, err := MergeSealos(Source{"f", merged}, Source{"registries.yaml", []byte(test.registries)})
			if err != nil || string(again) != test.want {
				t.Errorf("merged again (%v)\n%s\nwant\n%s", err, again, test.want)
			}
		})
	}
}

// TestMergeSealosPackaged merges into the file of the packages, whose comments have to stay.
func TestMergeSealosPackaged(t *testing.T) {
	packaged, err := os.ReadFile("../packaging/image-cri-shim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	registries, err := os.ReadFile(testdata + "/original-configmap.yaml")
	if err != nil {
		t.Fatal(err)
	}
	merged, _, err := MergeSealos(Source{"f", packaged}, Source{"registries.yaml", registries})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(packaged)) {
		if text := strings.TrimSpace(line); !strings.Contains(string(merged), text) {
			t.Errorf("the line %q is missing", text)
		}
	}
}

// TestMergeSealosMessages requires that errors name the text, line and key, and that warnings
// name what sealos' sync does in a way that may surprise.
func TestMergeSealosMessages(t *testing.T) {
	for _, test := range []struct{ name, file, registries, want string }{
		{"a mistake in the ConfigMap", "", "sealos:\n  address: hub.local\n  auth:\n    user: canary\n", "registries.yaml:3: sealos.auth: found keys and values, expected user:password, or the keys username and password; " +
			"quote user:password if it has a comma, or a space after a colon"},
		{"a mistake in both", "adress: hub.local\n", "timeout: soon\n", "f:1: adress: unknown key; did you mean `address`?\n" +
			`registries.yaml:1: timeout: found "soon", expected a duration such as 15m, 30s or 1h30m`},
		{"a password of digits", "", "sealos: {address: hub.local, auth: {username: a, password: 12345678}}\n", "registries.yaml:1: sealos.auth.password: found a number, expected a text; quote it: password: '...'"},
		{"a conflict of both", "address: hub.local\nshim: /run/s.sock\n", "metrics: /run/s.sock\n", "f merged with registries.yaml:3: metrics: found the socket of shim or cri, expected a separate one"},
		{"keys of the node", "address: hub.local\n", "shim: /run/b.sock\naddress: x.local\nversion: v1\n", "registries.yaml:1: shim: has no effect in the ConfigMap; set it in the node's file\n" +
			"registries.yaml:2: address: has no effect in the ConfigMap; set it below sealos"},
		{"registries removed", "registries: [{address: r.local}]\n", "debug: true\n", "registries.yaml: registries: sets none, so those of f are removed, as sealos does; add them to the ConfigMap"},
		{"a login for another host", "address: old.local\nauth: a:canary\n", "sealos:\n  address: new.local\n", "registries.yaml:2: sealos.address: the login of f is sent to this address, as sealos does; set auth below sealos"},
		{"a login for the same host", "address: old.local\nauth: a:canary\n", "sealos:\n  address: https://OLD.local/\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, warnings, err := MergeSealos(Source{"f", []byte(test.file)}, Source{"registries.yaml", []byte(test.registries)})
			got := strings.Join(lines(warnings), "\n")
			if err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}
