package keychain

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/reference"
)

// Keys are interpreted as in kubelet, including patterns of hosts.
func TestKeysOfLogins(t *testing.T) {
	for _, test := range []struct {
		name    string
		keys    []string // of auths
		address string   // of the registry
		image   string
		want    string // key that is used; empty: none
	}{
		{"a host", []string{"hub.example.com"}, "https://hub.example.com", "hub.example.com/app", "hub.example.com"},
		{"in upper case", []string{"HUB.example.com"}, "https://hub.example.com", "hub.example.com/app", "HUB.example.com"},
		{"a URL", []string{"https://hub.example.com/v2/"}, "https://hub.example.com", "hub.example.com/app", "https://hub.example.com/v2/"},
		{"a URL with a path", []string{"https://hub.example.com/v1/team"}, "https://hub.example.com", "hub.example.com/team/app", "https://hub.example.com/v1/team"},
		{"that is another's", []string{"https://hub.example.com/v1/team"}, "https://hub.example.com", "hub.example.com/other/app", ""},
		{"a part of a host", []string{"*.example.com"}, "https://hub.example.com", "hub.example.com/app", "*.example.com"},
		{"more parts", []string{"*.example.com"}, "https://a.hub.example.com", "a.hub.example.com/app", ""},
		{"fewer parts", []string{"*.example.com"}, "https://example.com", "example.com/app", ""},
		{"two patterns", []string{"*.dkr.*.amazonaws.com"}, "https://1.dkr.eu.amazonaws.com", "1.dkr.eu.amazonaws.com/app", "*.dkr.*.amazonaws.com"},
		{"a part of a part", []string{"hub-*.example.com"}, "https://hub-1.example.com", "hub-1.example.com/app", "hub-*.example.com"},
		{"one character", []string{"hub-?.example.com"}, "https://hub-12.example.com", "hub-12.example.com/app", ""},
		{"with the port", []string{"*.example.com:5000"}, "https://hub.example.com:5000", "hub.example.com:5000/app", "*.example.com:5000"},
		{"without it", []string{"*.example.com"}, "https://hub.example.com:5000", "hub.example.com:5000/app", ""},
		{"with a path", []string{"*.example.com/team"}, "https://hub.example.com", "hub.example.com/team/app", "*.example.com/team"},
		{"a host before a pattern", []string{"*.example.com", "hub.example.com"}, "https://hub.example.com", "hub.example.com/app", "hub.example.com"},
		{"the longer path", []string{"*.example.com/team", "hub.example.com"}, "https://hub.example.com", "hub.example.com/team/app", "*.example.com/team"},
		{"an IPv6 address", []string{"[::1]:5000"}, "http://[::1]:5000", "[::1]:5000/app", "[::1]:5000"},
		{"the default port in the key", []string{"hub.example.com:443"}, "https://hub.example.com", "hub.example.com/app", "hub.example.com:443"},
		{"the default port in the address", []string{"hub.example.com"}, "https://hub.example.com:443", "hub.example.com:443/app", "hub.example.com"},
		{"the default port of http", []string{"hub.example.com"}, "http://hub.example.com:80", "hub.example.com:80/app", "hub.example.com"},
		{"the longer path with the default port", []string{"hub.example.com", "hub.example.com:443/team"}, "https://hub.example.com", "hub.example.com/team/app", "hub.example.com:443/team"},
		{"a host with the default port before a pattern", []string{"*.example.com", "hub.example.com:443"}, "https://hub.example.com", "hub.example.com/app", "hub.example.com:443"},
		{"the port of another scheme", []string{"hub.example.com:443"}, "http://hub.example.com", "hub.example.com/app", ""},
		{"Docker Hub's", []string{"https://index.docker.io/v1/"}, "https://docker.io", "docker.io/library/nginx", "https://index.docker.io/v1/"},
		{"Docker Hub's host", []string{"registry-1.docker.io"}, "https://docker.io", "docker.io/library/nginx", "registry-1.docker.io"},
		{"at Docker Hub's host", []string{"docker.io"}, "https://registry-1.docker.io", "registry-1.docker.io/library/nginx", "docker.io"},
		{"at Docker Hub's host, by its name", []string{"https://registry-1.docker.io/v2/"}, "https://registry-1.docker.io", "registry-1.docker.io/library/nginx", "https://registry-1.docker.io/v2/"},
	} {
		t.Run(test.name, func(t *testing.T) {
			auths := map[string]any{}
			for _, key := range test.keys {
				auths[key] = map[string]string{"username": key, "password": "canary"}
			}
			data, err := json.Marshal(map[string]any{"auths": auths})
			if err != nil {
				t.Fatal(err)
			}
			l, err := parseLogins(data)
			if err != nil || len(l.problems) > 0 {
				t.Fatalf("%v, problems %q", err, l.problems)
			}
			named, err := reference.ParseNormalizedNamed(test.image)
			if err != nil {
				t.Fatal(err)
			}
			scheme, _, _ := strings.Cut(test.address, "://")
			if login, _ := l.lookUp(scheme, named); login.Username != test.want {
				t.Errorf("the login of %q is used, want that of %q", login.Username, test.want)
			}
		})
	}
}

// A helper with a pattern as its key is asked for the registry's host.
func TestHelperOfAPattern(t *testing.T) {
	l, err := parseLogins([]byte(`{"credHelpers": {"*.dkr.ecr.eu-west-1.amazonaws.com": "ecr-login"}}`))
	if err != nil {
		t.Fatal(err)
	}
	named, err := reference.ParseNormalizedNamed("1.dkr.ecr.eu-west-1.amazonaws.com/team/app")
	if err != nil {
		t.Fatal(err)
	}
	if _, entry := l.lookUp("https", named); entry != (helperEntry{"ecr-login", "1.dkr.ecr.eu-west-1.amazonaws.com"}) {
		t.Errorf("%+v", entry)
	}
}

// Each supported form of a credentials file is read.
func TestFormsOfLogins(t *testing.T) {
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	config := `{"auths": {"hub.example.com": {"auth": "` + encode("robot:canary") + `"}}}`
	flat := `{"https://hub.example.com": {"auth": "` + encode("robot:canary") + `", "email": "robot@example.com"}}`
	folded := encode(config)[:40] + "\n    " + encode(config)[40:]
	for name, content := range map[string]string{
		"config.json":           config,
		"config.json with more": `{"HttpHeaders": {"User-Agent": "x"}, "auths": {"hub.example.com": {"username": "robot", "password": "canary"}}}`,
		"with tabs":             "{\n\t\"auths\": {\n\t\t\"hub.example.com\": {\n\t\t\t\"auth\": \"" + encode("robot:canary") + "\"\n\t\t}\n\t}\n}\n",
		"flat":                  flat,
		"flat, no e-mail":       `{"hub.example.com": {"username": "robot", "password": "canary"}}`,
		"a Secret in JSON":      `{"kind": "Secret", "apiVersion": "v1", "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "` + encode(config) + `"}}`,
		"a Secret, data":        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: hub\ntype: kubernetes.io/dockerconfigjson\ndata:\n  .dockerconfigjson: " + encode(config) + "\n",
		"a Secret, folded data": "kind: Secret\ndata:\n  .dockerconfigjson: >-\n    " + folded + "\n",
		"a Secret, stringData":  "kind: Secret\nstringData:\n  .dockerconfigjson: |\n    " + config + "\n",
		"both":                  "kind: Secret\ndata:\n  .dockerconfigjson: " + encode(`{"auths": {}}`) + "\nstringData:\n  .dockerconfigjson: '" + config + "'\n",
		"the flat form, data":   "kind: Secret\ntype: kubernetes.io/dockercfg\ndata:\n  .dockercfg: " + encode(flat) + "\n",
		"the flat form, text":   "kind: Secret\nstringData:\n  .dockercfg: '" + flat + "'\n",
		"several documents":     "---\n# comment\n---\nkind: Secret\nstringData:\n  .dockercfg: '{\"other.example.com\": {\"username\": \"a\", \"password\": \"b\"}}'\n---\nkind: Secret\nstringData:\n  .dockerconfigjson: '" + config + "'\n",
		"a List":                "kind: List\nitems:\n- kind: ConfigMap\n- kind: Secret\n  stringData:\n    .dockerconfigjson: '" + config + "'\n",
		"config.json in YAML":   "auths:\n  hub.example.com:\n    username: robot\n    password: canary\n",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := parseLogins([]byte(content))
			if err != nil || len(l.problems) > 0 {
				t.Fatalf("%v, problems %q", err, l.problems)
			}
			if login := l.auths["hub.example.com"]; login.Username != "robot" || login.Password != "canary" {
				t.Errorf("user %q, want robot with the password", login.Username)
			}
		})
	}
	for name, content := range map[string]string{
		"nothing":                     "",
		"a text":                      "canary",
		"half of it":                  `{"auths": {"canary`,
		"a list":                      `["canary"]`,
		"auths that are a text":       `{"auths": "canary"}`,
		"a Secret of another kind":    "kind: Secret\ntype: Opaque\nstringData:\n  password: canary\n",
		"a Secret that is not base64": "kind: Secret\ndata:\n  .dockerconfigjson: '{canary}'\n",
		"a Secret with half of it":    "kind: Secret\nstringData:\n  .dockerconfigjson: '{\"auths\": {\"canary'\n",
	} {
		if _, err := parseLogins([]byte(content)); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: error %v, want one without the content", name, err)
		}
	}
}

// Unusable entries are reported with their keys and do not affect other entries.
func TestProblemsOfLogins(t *testing.T) {
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	for entry, want := range map[string]string{
		`"a.example.com": {"auth": "canary!"}`:                                                   `auths["a.example.com"]: auth is not user:password in base64`,
		`"a.example.com": {"auth": "` + encode("canary") + `"}`:                                  `auths["a.example.com"]: auth is not user:password in base64`,
		`"a.example.com": "canary"`:                                                              `auths["a.example.com"]: auth is not user:password in base64`,
		`"a.example.com": {"auth": "` + encode("robot:") + `"}`:                                  `auths["a.example.com"]: the password is empty`,
		`"a.example.com": {"username": "robot"}`:                                                 `auths["a.example.com"]: the password is empty`,
		`"a.example.com": {"password": "canary"}`:                                                `auths["a.example.com"]: has a password but no user name`,
		`"a.example.com": {}`:                                                                    `auths["a.example.com"]: contains no login`,
		`"a.example.com": null`:                                                                  `auths["a.example.com"]: contains no login`,
		`"a.example.com": {"auth": "` + encode("robot:canary\n") + `"}`:                          `auths["a.example.com"]: the password contains a control character, such as a line break at the end`,
		`"ftp://a.example.com": {"auth": "` + encode("robot:canary") + `"}`:                      `auths["ftp://a.example.com"]: is neither a host nor an http or https URL`,
		`"": {"auth": "` + encode("robot:canary") + `"}`:                                         `auths[""]: is not a host`,
		`"a.example.com/*": {"auth": "` + encode("robot:canary") + `"}`:                          `auths["a.example.com/*"]: matches nothing: only the host may have a *`,
		`"[a.example.com": {"auth": "` + encode("robot:canary") + `"}`:                           `auths["[a.example.com"]: is not a valid host pattern`,
		`"*": {"auth": "` + encode("robot:canary") + `"}`:                                        `auths["*"]: matches nothing: each * matches one part of a host between dots, as in *.example.com`,
		`"a.example.com:*": {"auth": "` + encode("robot:canary") + `"}`:                          `auths["a.example.com:*"]: matches nothing: a port can't be a pattern`,
		`"https://hub.example.com/v1/": {"auth": "` + encode("other:canary") + `"}`:              `auths["https://hub.example.com/v1/"]: is the same registry as "hub.example.com", which is used instead`,
		`"a.example.com": {"auth": "` + encode("robot:") + `", "identitytoken": "canary-token"}`: "",
	} {
		t.Run(entry, func(t *testing.T) {
			l, err := parseLogins(fmt.Appendf(nil, `{"auths": {"hub.example.com": {"auth": %q}, %s}}`, encode("robot:canary"), entry))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(l.problems, "; "); got != want {
				t.Errorf("problems %q, want %q", got, want)
			}
			if login := l.auths["hub.example.com"]; login.Username != "robot" {
				t.Errorf("the other login is lost")
			}
		})
	}
	l, err := parseLogins([]byte(`{"credsStore": "pass", "credHelpers": {"a.example.com": "/usr/bin/canary"}, "auths": {"b.example.com": {}}}`))
	if err != nil || !slices.Equal(l.problems, []string{`credHelpers["a.example.com"]: is not a bare name of a helper`}) {
		t.Errorf("%v, problems %q", err, l.problems)
	}
	l, err = parseLogins([]byte(`{"hub.example.com": "canary"}`))
	if err != nil || !slices.Equal(l.problems, []string{"contains neither auths nor .dockercfg logins"}) {
		t.Errorf("%v, problems %q", err, l.problems)
	}
	if l, err = parseLogins([]byte(`{}`)); err != nil || len(l.problems) > 0 {
		t.Errorf("%v, problems %q", err, l.problems)
	}
}

// A login that was written into a key is not shown.
func TestProblemOfAKeyWithALogin(t *testing.T) {
	for _, key := range []string{"https://robot:canary@hub.example.com", "robot:canary@hub.example.com", "https://robot:can@ary@hub.example.com"} {
		l, err := parseLogins(fmt.Appendf(nil, `{"auths": {%q: {"auth": "cm9ib3Q6Y2FuYXJ5"}}}`, key))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(l.problems, "\n")
		if strings.Contains(text, "can") || !strings.Contains(text, "@hub.example.com") {
			t.Errorf("%s", text)
		}
	}
}

// An entry without a login does not replace another entry of the same registry.
func TestEntriesWithoutALogin(t *testing.T) {
	const login = `{"auth": "cm9ib3Q6Y2FuYXJ5"}`
	for _, content := range []string{
		`{"auths": {"hub.example.com": {}, "https://hub.example.com": ` + login + `}}`,
		`{"auths": {"hub.example.com/team": {}, "hub.example.com": ` + login + `}}`,
		`{"auths": {"hub.example.com/team": {"password": "x"}, "hub.example.com": ` + login + `}}`,
	} {
		l, err := parseLogins([]byte(content))
		if err != nil {
			t.Fatal(err)
		}
		named, err := reference.ParseNormalizedNamed("hub.example.com/team/app")
		if err != nil {
			t.Fatal(err)
		}
		if login, entry := l.lookUp("https", named); login.Username != "robot" || entry != (helperEntry{}) || len(l.problems) != 1 {
			t.Errorf("%s: the login of %q, helper %q, problems %q", content, login.Username, entry.helper, l.problems)
		}
	}
}

// A small file can't expand to a large one by YAML aliases.
func TestAliasesAreRefused(t *testing.T) {
	if _, err := parseLogins([]byte("a: &a [canary, canary]\nb: [*a, *a]\n")); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
	documents, err := fromYAML([]byte("a: &a [x]\nb: *a\n"))
	if !errors.Is(err, errAlias) {
		t.Errorf("got %s, %v", documents, err)
	}
}
