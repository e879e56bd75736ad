package config

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/distribution/reference"
)

func TestAddresses(t *testing.T) {
	for written, want := range map[string]string{
		"http://sealos.hub:5000":         "http://sealos.hub:5000",
		"https://Hub.Example.COM/":       "https://hub.example.com",
		"docker.io":                      "https://docker.io",
		"hub:5000":                       "https://hub:5000",
		"localhost":                      "https://localhost",
		"http://localhost/mirror/":       "http://localhost/mirror",
		"http://10.0.0.7":                "http://10.0.0.7",
		"HTTP://10.0.0.7:80//":           "http://10.0.0.7:80",
		"http://[FD00::1]:5000":          "http://[fd00::1]:5000",
		"[fd00::1]":                      "https://[fd00::1]",
		"http://sealos.hub:5000/v2":      "http://sealos.hub:5000",
		"hub.local/v1/":                  "https://hub.local",
		"hub.local/v22/x":                "https://hub.local/v22/x",
		"https://index.docker.io/v1/":    "https://docker.io",
		"https://registry-1.docker.io":   "https://docker.io",
		"index.docker.io/team":           "https://docker.io/team",
		"https://hub.local/a.b/c__d/e-f": "https://hub.local/a.b/c__d/e-f",
	} {
		config, err := Parse("f", []byte("address: '"+written+"'"))
		if err != nil {
			t.Errorf("%s is refused: %v", written, err)
			continue
		}
		got := config.Registries[0].Address
		if got != want {
			t.Errorf("%s is read as %s, want %s", written, got, want)
		}
		// An image name with this address must be parsed with it as its host.
		_, place, _ := strings.Cut(got, "://")
		host, prefix, _ := strings.Cut(place+"/team/image", "/")
		named, err := reference.ParseNormalizedNamed(host + "/" + prefix)
		if err != nil {
			t.Errorf("%s can't be in an image name: %v", got, err)
		} else if reference.Domain(named) != host || reference.Path(named) != prefix {
			t.Errorf("%s in an image name is read as host %s and path %s", got, reference.Domain(named), reference.Path(named))
		}
	}
}

func TestCredentials(t *testing.T) {
	for _, test := range []struct{ auth, username, password string }{
		{"admin:passw0rd", "admin", "passw0rd"},
		{"'admin:pa:ss:'", "admin", "pa:ss:"},
		{"'admin:'", "admin", ""},
		{"'robot$a+b: with blanks and #'", "robot$a+b", " with blanks and #"},
		{"''", "", ""},
		{"user", "user", ""},
		{"{username: admin, password: passw0rd}", "admin", "passw0rd"},
		{"{username: ' admin ', password: 'a:b:c'}", "admin", "a:b:c"},
		{"{username: robot}", "robot", ""},
		{"{username: '', password: ''}", "", ""},
		{"{}", "", ""},
	} {
		config, err := Parse("f", []byte("registries:\n- address: hub.local\n  auth: "+test.auth))
		if err != nil {
			t.Errorf("%s is refused: %v", test.auth, err)
			continue
		}
		if r := config.Registries[0]; r.Username != test.username || r.Password != test.password {
			t.Errorf("%s is read as %q and %q", test.auth, r.Username, r.Password)
		}
	}
}

func TestMatchAndPath(t *testing.T) {
	for _, match := range []string{"docker.io", "docker.io/library", "*.gcr.io/team", "!docker.io/library/secret", "*", "hub:5000/[a-c]?/x", "localhost/x", "[^a].io"} {
		config, err := Parse("f", []byte("address: hub.local\nmatch:\n- '"+match+"'"))
		if err != nil {
			t.Errorf("match %s is refused: %v", match, err)
		} else if got := config.Registries[0].Match; len(got) != 1 || got[0] != match || config.Warnings != nil {
			t.Errorf("match %s is read as %q with warnings %q", match, got, config.Warnings)
		}
	}
	for _, path := range []string{"{path}", "{domain}/{path}", "proxy-cache/{path}", "{name}", "a.b/{domain}_{name}"} {
		config, err := Parse("f", []byte("address: hub.local\npath: '"+path+"'"))
		if err != nil {
			t.Errorf("path %s is refused: %v", path, err)
		} else if got := config.Registries[0].Path; got != path {
			t.Errorf("path %s is read as %s", path, got)
		}
	}
}

func TestPasswordIsNotPrinted(t *testing.T) {
	config := load(t, "full.yaml")
	encoded, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	printed := string(encoded)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		printed += fmt.Sprintf(verb+verb+verb, config, *config, config.Registries[0])
	}
	for _, secret := range []string{"pass:w0rd", "hunter2", fmt.Sprintf("%x", "hunter2")} {
		if strings.Contains(printed, secret) {
			t.Errorf("%s is in %s", secret, printed)
		}
	}
	if !strings.Contains(printed, "hub.example.com") {
		t.Errorf("the address is not in %s", printed)
	}
}

func TestAuthFile(t *testing.T) {
	parsed, err := Parse("f", []byte("address: http://hub.local\nauthFile: /etc/auth.json\nregistries:\n- address: http://own.local\n  authFile: /etc/own.json\n- address: http://login.local\n  auth: a:b\n- address: http://other.local\n"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"/etc/auth.json", "/etc/own.json", "", "/etc/auth.json"} {
		if got := parsed.Registries[i].AuthFile; got != want {
			t.Errorf("authFile of %v: %q, want %q", parsed.Registries[i], got, want)
		}
	}
	if _, err := Parse("f", []byte("registries:\n- address: http://own.local\n  auth: a:canary\n  authFile: /etc/own.json\n")); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("auth beside authFile: %v, want an error", err)
	}
}
