package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAllProblemsInLineOrder(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(testdata, "broken.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse("broken.yaml", data)
	want := strings.TrimSpace(`
broken.yaml:1: shim: found "run/shim.sock", expected an absolute path or unix:///path
broken.yaml:2: adress: unknown key; did you mean ` + "`address`" + `?
broken.yaml:3: force: found "yes", expected true or false; did you mean ` + "`true`" + `?
broken.yaml:4: timeout: found 15, expected a duration such as 15m, 30s or 1h30m; did you mean ` + "`15s`" + `?
broken.yaml:6: cache.imageCacheSize: found "many", expected a whole number
broken.yaml:7: cache.imageCacheTll: unknown key; did you mean ` + "`imageCacheTTL`" + `?
broken.yaml:9: registries[0].auth: found an empty user name, expected user:password
broken.yaml:9: registries[0]: found no address, expected http:// or https:// and host[:port][/prefix]
broken.yaml:10: registries[0].priority: found "800", expected a whole number
broken.yaml:11: registries[1].address: found a user or password in the address, expected them under auth
broken.yaml:12: registries[1].prority: unknown key; did you mean ` + "`priority`" + `?
broken.yaml:13: force: is set twice, first on line 3`)
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestStructure(t *testing.T) {
	const verbose = "; image-cri-shim check --verbose lists the valid keys"
	for _, test := range []struct{ data, want string }{
		{"registires: []", "f:1: registires: unknown key; did you mean `registries`?"},
		{"Shim: /a", "f:1: Shim: unknown key; did you mean `shim`?"},
		{"registries: [{address: hub.local, timeout: 5s}]", "f:1: registries[0].timeout: unknown key" + verbose},
		{"registries: [{address: hub.local, '': 5s}]", "f:1: registries[0].: unknown key" + verbose},
		{"registries: [{address: hub.local, [a]: 5s}]", "f:1: registries[0]: unknown key" + verbose},
		{"registries: [{address: hub.local, <<: {priority: 1}}]", "f:1: registries[0].<<: unknown key" + verbose},
		{"{auth:admin:hunter2}", "f:1: auth: unknown key with a colon in it, expected `key: value` with a space after the colon"},
		{"cache:\n  disablestats: true\n", "f:2: cache.disablestats: unknown key" + verbose},
		{"debug: true\n\ndebug: false", "f:3: debug: is set twice, first on line 1"},
		{"just text", "f: found a text, expected keys and values"},
		{"auth:admin:hunter2", "f:1: auth: found no space after the colon of the key, expected `key: value`"},
		{"- shim", "f: found a list, expected keys and values"},
		{"debug: true\n---\ndebug: false\n", "f:2: found a second YAML document (after ---), expected one"},
		{"debug: true\n\tforce: true\n", "f:2: force: the line is indented with a tab; use spaces"},
		{"debug: true\nauth:admin:hunter2\nforce: true\n", "f:2: auth: found no space after the colon of the key, expected `key: value`"},
		{"debug: true\n\nmatch: *everything\n", "f:3: match: not valid YAML: found an alias (*name) without its anchor (&name); quote a text that begins with *"},
		{"registries: &all [*all]", "f:1: registries[0]: found a list, expected keys and values"},
		{"debug: \x01", "f: not valid YAML: control characters are not allowed"},
	} {
		_, err := Parse("f", []byte(test.data))
		if err == nil || err.Error() != test.want {
			t.Errorf("%q\n got %v\nwant %s", test.data, err, test.want)
		}
	}
}

// An alias can carry a password to a key for which errors show the value.
func TestAliasIsNotShown(t *testing.T) {
	_, err := Parse("f", []byte("auth: &secret admin:hunter2\ndebug: *secret\nimage: *secret\ntimeout: *secret"))
	want := "f:2: debug: found a text, expected true or false\n" +
		"f:3: image: found a text, expected an absolute path\n" +
		"f:4: timeout: found a text, expected a duration such as 15m, 30s or 1h30m"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	var data strings.Builder
	for range 1000 {
		data.WriteString(strings.Repeat("k", 20) + ": 1\n")
	}
	_, err := Parse("f", []byte(data.String()))
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != problemLimit+1 || lines[problemLimit] != "f: and 900 more problems" {
		t.Errorf("got %d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
}

// A few kilobytes of aliases to aliases would expand to 10^9 values if they were followed.
func TestAliasBomb(t *testing.T) {
	data := "cache: {imageCacheSize: &a [x,x,x,x,x,x,x,x,x,x]}\n"
	for name := 'b'; name < 'k'; name++ {
		data += string(name) + ": &" + string(name) + " [" + strings.Repeat("*"+string(name-1)+",", 10) + "]\n"
	}
	data += "registries: *j\n"
	_, err := Parse("f", []byte(data))
	if err == nil || !strings.Contains(err.Error(), "registries[9]: found a list, expected keys and values") {
		t.Errorf("got %v", err)
	}
}

func TestDeepNesting(t *testing.T) {
	for _, data := range []string{strings.Repeat("[", 1<<19), strings.Repeat("{a: ", 1<<17), strings.Repeat("- ", 1<<18)} {
		if _, err := Parse("f", []byte(data)); err == nil {
			t.Errorf("%.10q... is accepted", data)
		}
	}
}
