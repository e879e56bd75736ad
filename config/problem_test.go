package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestProblems requires the exact error for each kind of bad value of each key.
func TestProblems(t *testing.T) {
	const (
		aSocket   = `expected an absolute path or unix:///path`
		aDuration = `expected a duration such as 15m, 30s or 1h30m`
		anAddress = `expected http:// or https:// and host[:port][/prefix]`
		aPattern  = `expected a pattern such as docker.io, docker.io/library, *.gcr.io/team or !docker.io/secret, in lower case`
		aTag      = `expected a tag or a pattern of tags such as 1.*, latest or !latest`
		aPath     = `expected a repository path: lower-case letters and digits, separated by . _ __ or -, with / between its parts`
		aLogin    = `expected user:password`
		quoted    = `; quote it: auth: 'user:password'`
		aText     = `expected a text; quote it: `
		escape    = `; in double quotes a backslash begins an escape such as \n: use single quotes`
		anIPv6    = `found a bad host in brackets, expected an IPv6 address such as [fd00::1], without a zone or dots`
		control   = `found control characters or several lines, expected plain text on one line`
		aSize     = `expected a size from 64KiB to 2MiB, such as 512KiB or 1MiB, or 0 for none`
		taggedBad = `found a YAML tag (a text that begins with ! needs quotes), `
	)
	for _, test := range []struct{ data, want string }{
		{`shim: shim.sock`, `shim: found "shim.sock", ` + aSocket},
		{`shim: unix://shim.sock`, `shim: found "unix://shim.sock", ` + aSocket},
		{`cri: tcp://127.0.0.1:5000`, `cri: found "tcp://127.0.0.1...", ` + aSocket},
		{`cri: http:///run/x.sock`, `cri: found "http:///run/x.sock", ` + aSocket},
		{`cri: 5`, `cri: found a number, ` + aSocket},
		{`cri: [/run/x.sock]`, `cri: found a list, ` + aSocket},
		{`cri: {path: /run/x.sock}`, `cri: found keys and values, ` + aSocket},
		{`cri: "/run/a\0b"`, `cri: ` + control},
		{`cri: /` + strings.Repeat("x", 107), `cri: found a path of 108 bytes, expected at most 107 (the limit of unix sockets)`},
		{`cri: /var/run/../run/image-cri-shim.sock`, `cri: found the socket that the shim serves, expected the runtime's socket`},
		{"force: 1", `force: found 1, expected true or false`},
		{"force: on", "force: found \"on\", expected true or false; did you mean `true`?"},
		{"debug: No", "debug: found \"No\", expected true or false; did you mean `false`?"},
		{`debug: "true"`, `debug: found "true", expected true or false; remove the quotes`},
		{`debug: {}`, `debug: found keys and values, expected true or false`},
		{`insecureSkipVerify: maybe`, `insecureSkipVerify: found "maybe", expected true or false`},
		{"timeout: 15", "timeout: found 15, " + aDuration + "; did you mean `15s`?"},
		{`timeout: "15"`, "timeout: found \"15\", " + aDuration + "; did you mean `15s`?"},
		{"timeout: -15m", `timeout: found "-15m", ` + aDuration + `, not a negative one`},
		{"timeout: 3 seconds", "timeout: found \"3 seconds\", " + aDuration + "; did you mean `3s`?"},
		{"timeout: 1 hour 30 minutes", `timeout: found "1 hour 30 minutes", ` + aDuration},
		{"timeout: 15Min", "timeout: found \"15Min\", " + aDuration + "; did you mean `15m`?"},
		{"cache: {imageCacheSize: 1 000}", `cache.imageCacheSize: found "1 000", expected a whole number`},
		{"address: “http://hub.local”", `address: found "“http...", ` + anAddress + `; the value contains a typographic quote (U+201C)`},
		{"timeout: 1d", `timeout: found "1d", ` + aDuration},
		{"timeout: true", `timeout: found true, ` + aDuration},
		{"timeout: 2020-01-01", `timeout: found a date, ` + aDuration},
		{"timeout: !soon 1m", `timeout: ` + taggedBad + aDuration},
		{"lookupTimeout: -3s", `lookupTimeout: found "-3s", ` + aDuration + `, not a negative one`},
		{"lookupTimeout: [3s]", `lookupTimeout: found a list, ` + aDuration},
		{"drain: -1s", `drain: found "-1s", ` + aDuration + `, not a negative one`},
		{"reloadInterval: soon", `reloadInterval: found "soon", ` + aDuration},
		{"traceBuffer: 3MiB", `traceBuffer: found "3MiB", ` + aSize},
		{"traceBuffer: 2049KiB", `traceBuffer: found "2049KiB", ` + aSize},
		{"traceBuffer: 99999999999999999999MiB", `traceBuffer: found "99999999999999999999MiB", ` + aSize},
		{"traceBuffer: 63KiB", `traceBuffer: found "63KiB", ` + aSize},
		{"traceBuffer: 0MiB", `traceBuffer: found "0MiB", ` + aSize},
		{"traceBuffer: 1M", "traceBuffer: found \"1M\", " + aSize + "; did you mean `1MiB`?"},
		{"traceBuffer: 512 kb", "traceBuffer: found \"512 kb\", " + aSize + "; did you mean `512KiB`?"},
		{"traceBuffer: 1048576", `traceBuffer: found a number, ` + aSize},
		{"traceBuffer: -1MiB", `traceBuffer: found "-1MiB", ` + aSize},
		{"traceBuffer: on", `traceBuffer: found "on", ` + aSize},
		{"traceBuffer: [1MiB]", `traceBuffer: found a list, ` + aSize},
		{"image: var/lib", `image: found "var/lib", expected an absolute path`},
		{"image: 7", `image: found a number, expected an absolute path`},
		{`image: "/var\n/lib"`, `image: ` + control},
		{"ca: ca.pem", `ca: found "ca.pem", expected an absolute path`},
		{"cache: 1024", `cache: found a number, expected keys and values`},
		{"cache: {imageCacheSize: 1.5}", `cache.imageCacheSize: found 1.5, expected a whole number`},
		{"cache: {imageCacheSize: many}", `cache.imageCacheSize: found "many", expected a whole number`},
		{"cache: {imageCacheTTL: 5}", "cache.imageCacheTTL: found 5, " + aDuration + "; did you mean `5s`?"},
		{"cache: {absentTTL: -1s}", `cache.absentTTL: found "-1s", ` + aDuration + `, not a negative one`},
		{"offlinePriority: high", `offlinePriority: found "high", expected a whole number`},
		{"offlinePriority: 1.5", `offlinePriority: found 1.5, expected a whole number`},
		{"offlinePriority: 99999999999999999999", `offlinePriority: found a number, expected a whole number`},
		{`offlinePriority: "800"`, `offlinePriority: found "800", expected a whole number`},

		{"address: ftp://hub.local", `address: found "ftp...", ` + anAddress},
		{"address: http://admin:hunter2@hub.local", `address: found a user or password in the address, expected them under auth`},
		{"address: admin@hub.local", `address: found a user or password in the address, expected them under auth`},
		{"address: http://hub.local?x=1", `address: found a query or fragment (? or #), ` + anAddress},
		{"address: http://hub.local/x#y", `address: found a query or fragment (? or #), ` + anAddress},
		{"address: http://", `address: found the host "", expected a DNS name, an IPv4 address or an IPv6 address in brackets`},
		{"address: http://hub_1.local", `address: found the host "hub_1.local", expected a DNS name, an IPv4 address or an IPv6 address in brackets`},
		{"address: http://hub", `address: found the host "hub", expected one with a dot or a port (hub:5000), or localhost: image names take this one for a part of the repository`},
		{"address: http://hub.local:port", `address: found a port of "hub.local" that is not a number from 1 to 65535, ` + anAddress},
		{`address: "http://hub.local:"`, `address: found a port of "hub.local" that is not a number from 1 to 65535, ` + anAddress},
		{"address: http://hub.local:0", `address: found a port of "hub.local" that is not a number from 1 to 65535, ` + anAddress},
		{"address: http://hub.local:65536", `address: found a port of "hub.local" that is not a number from 1 to 65535, ` + anAddress},
		{"address: http://[fe80::1%eth0]:5000", `address: ` + anIPv6},
		{"address: http://[::ffff:1.2.3.4]", `address: ` + anIPv6},
		{"address: http://[fd00::1", `address: ` + anIPv6},
		{"address: http://hub.local/Mirror", `address: found a prefix that image names can't have, ` + aPath},
		{"address: http://hub.local/a//b", `address: found a prefix that image names can't have, ` + aPath},
		{"address: http://hub.local/" + strings.Repeat("x", 250), `address: found a prefix of 250 characters, expected at most 249`},
		{"address: 5000", `address: found a number, ` + anAddress},

		{"address: http://hub.local/v2/mirror", `address: found the path "/v2/mirror", expected the address as in image names, such as http://hub.local/mirror: /v2 is the path of the registry's API`},
		{"address: https://index.docker.io/v1/repositories/", `address: found the path "/v1/repositories", expected the address as in image names, such as https://docker.io/repositories: /v1 is the path of the registry's API`},
		{"auth: ':hunter2'", `auth: found an empty user name, ` + aLogin},
		{"auth: 12345", `auth: found a number, ` + aLogin + quoted},
		{"auth: {admin: hunter2}", `auth: found keys and values, ` + aLogin + `, or the keys username and password; quote user:password if it has a comma, or a space after a colon`},
		{"auth: {username: admin, pasword: hunter2}", `auth: found keys and values, ` + aLogin + `, or the keys username and password; quote user:password if it has a comma, or a space after a colon`},
		{"auth: {username: admin, password: 12345}", `auth.password: found a number, ` + aText + `password: '...'`},
		{"auth: {username: [hunter2], password: hunter2}", "auth.username: found a list, " + aText + "username: '...'\nf:1: auth: found an empty user name, " + aLogin},
		{"auth: {password: hunter2}", `auth: found an empty user name, ` + aLogin},
		{`auth: {username: admin, password: "hunter\0"}`, `auth.password: ` + control + escape},
		{"auth: {username: admin, username: hunter2}", `auth.username: is set twice, first on line 1`},
		{"sealos: http://hub.local", `sealos: found a text, expected keys and values`},
		{"sealos: {address: hub.local, priority: 5}", "sealos.priority: unknown key; image-cri-shim check --verbose lists the valid keys"},
		{"sealos: {address: hub.local}\naddress: other.local", "sealos.address: found together with address at the top level, expected only one of them; put it in place of address, auth and registries"},
		{"sealos: {auth: 'a:hunter2'}\nauth: a:hunter2", "sealos.auth: found together with auth at the top level, expected only one of them; put it in place of address, auth and registries"},
		{"{registries: [], sealos: {}, registries: []}", "registries: is set twice, first on line 1; put it in place of address, auth and registries"},
		{"auth: [admin, hunter2]", `auth: found a list, ` + aLogin + quoted},
		{"auth: !hunter2", `auth: ` + taggedBad + aLogin + quoted},
		{`auth: "admin:hunter2\n"`, `auth: ` + control + escape},
		{"auth: *hunter2", `auth: not valid YAML: found an alias (*name) without its anchor (&name); quote a text that begins with *`},

		{"match: 5", `match: found a number, ` + aPattern},
		{"match: !docker.io/secret", `match: ` + taggedBad + aPattern},
		{"match: [~]", `match[0]: found nothing, ` + aPattern},
		{"match: ['']", `match[0]: found "", ` + aPattern},
		{"match: [docker.io, Quay.io]", `match[1]: found "Quay.io", ` + aPattern},
		{"match: [docker.io/, '[']", `match[0]: found "docker.io/", ` + aPattern + "\nf:1: match[1]: found \"[\", " + aPattern},
		{"match: '!'", `match: found "!", ` + aPattern},
		{"match: 'a.io/[b'", `match: found "a.io/[b", ` + aPattern},
		{"path: '{repository}'", `path: found the placeholder "{repository}", expected {domain}, {path} or {name}`},
		{"path: mirror", `path: found neither {path} nor {name}, so all images would have the same name, expected a template such as {path}, {domain}/{path} or mirror/{name}`},
		{"path: '{domain}'", `path: found neither {path} nor {name}, so all images would have the same name, expected a template such as {path}, {domain}/{path} or mirror/{name}`},
		{"path: Mirror/{path}", `path: found "Mirror/{path}", ` + aPath},
		{"path: /{path}", `path: found "/{path}", ` + aPath},
		{"path: 'x/{path}}'", `path: found "x/{path}}", ` + aPath},
		{"path: 'x:{path}'", `path: found "x...", ` + aPath},
		{"path: '{path}/" + strings.Repeat("x", 251) + "'", `path: found a template that makes paths of at least 256 characters, expected at most 255`},
		{"path: {path}", `path: found keys and values, expected a template such as {path}, {domain}/{path} or mirror/{name}`},

		{"registries: http://hub.local", `registries: found a text, expected a list of registries`},
		{"registries: {address: http://hub.local}", `registries: found keys and values, expected a list of registries`},
		{"registries: [http://admin:hunter2@hub.local]", `registries[0]: found a text, expected keys and values`},
		{"registries: [~]", `registries[0]: found no address, ` + anAddress},
		{"registries: [{auth: 'a:b'}]", `registries[0]: found no address, ` + anAddress},
		{"registries: [{address: ''}]", `registries[0]: found no address, ` + anAddress},
		{"registries: [{address: hub.local}, {address: hub}]", `registries[1].address: found the host "hub", expected one with a dot or a port (hub:5000), or localhost: image names take this one for a part of the repository`},
		{"engine: fast", `engine: found "fast", expected frames or grpc`},
		{"fallback: always", `fallback: found "always", expected original or never`},
		{"fallback: no", `fallback: found "no", expected original or never`},
		{"registries: [{address: hub.local, fallback: 1}]", `registries[0].fallback: found a number, expected original or never`},
		{"tags: 5", `tags: found a number, ` + aTag},
		{"tags: [latest, '!']", `tags[1]: found "!", ` + aTag},
		{"tags: [a/b]", `tags[0]: found "a/b", ` + aTag},
		{"tags: '1.[0'", `tags: found "1.[0", ` + aTag},
		{"registries: [{address: hub.local, match: [X]}]", `registries[0].match[0]: found "X", ` + aPattern},
		{"registries: [" + strings.Repeat("{address: hub.local},", 257) + "]", `registries: found 257 items, expected at most 256`},
	} {
		_, err := Parse("f", []byte(test.data))
		if err == nil {
			t.Errorf("%q is accepted", test.data)
			continue
		}
		if got := err.Error(); got != "f:1: "+test.want {
			t.Errorf("%q\n got %s\nwant f:1: %s", test.data, got, test.want)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: its error has the password", test.data)
		}
	}
}

func TestAbridge(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                       "plain",
		"two words":                   "two...",
		"line\nbreak":                 "line...",
		"admin:hunter2":               "admin...",
		"admin:1234":                  "admin...",
		"admin:/hunter2":              "admin...",
		"admin://hunter2":             "admin...",
		"admin:p@hunter2":             "...",
		"user@example.com:1234":       "...",
		"http://admin:hunter2@hub":    "http://...",
		"http://hub:5000":             "http://hub...",
		"12345678":                    "...",
		"3 seconds":                   "3 seconds",
		"12 hunters":                  "12...",
		strings.Repeat("x", 61):       strings.Repeat("x", 60) + "...",
		strings.Repeat("é", 40):       strings.Repeat("é", 30) + "...",
		"a" + strings.Repeat("é", 40): "a" + strings.Repeat("é", 29) + "...",
	} {
		if got := abridge(text); got != want {
			t.Errorf("abridge(%q) = %q, want %q", text, got, want)
		}
	}
}

// Credentials below the key of another value look like an address or a number.
func TestMisplacedCredentials(t *testing.T) {
	for _, key := range lineKeys {
		if slices.Contains(secretKeys, key) {
			continue
		}
		for _, password := range []string{"98765432109", "/Zecret", "//Zecret", "p@Zecret", "7Zecret", "12.34/Zecret", "443/Zecret"} {
			for _, value := range []string{"admin:%s", "'admin:%s'", "robot@hub.example:%s", "['admin:%s']", "https://admin:%s", "https://admin:%s@hub.example"} {
				data := key + ": " + fmt.Sprintf(value, password)
				config, err := Parse("f", []byte(data))
				var messages []Message
				if err != nil {
					messages = ProblemsOf("f", err)
				} else {
					messages = config.Warnings
				}
				for _, message := range messages {
					if text := message.String(); strings.Contains(text, "Zecret") || strings.Contains(text, "987") {
						t.Errorf("%q: its message has the password: %s", data, text)
					}
				}
			}
		}
		if _, err := Parse("f", []byte(key+": 98765432109")); err != nil && strings.Contains(err.Error(), "987") {
			t.Errorf("%s: its error has the number: %v", key, err)
		}
	}
}
