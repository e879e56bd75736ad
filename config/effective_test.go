package config

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestEffective requires the settings in the JSON of check: those of the file, with defaults,
// the preferred registry first, and without passwords.
func TestEffective(t *testing.T) {
	encoded, err := json.Marshal(load(t, "full.yaml").Effective())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"cri":"/run/crio/crio.sock"`, `"timeout":"1h30m"`, `"drain":"1m"`, `"traceBuffer":"512KiB"`, `"cache":{"imageCacheSize":16,"imageCacheTTL":"1m","absentTTL":"2s"}`,
		`"registries":[{"address":"https://10.0.0.7","main":false,"username":"robot","password":"********","priority":950,"match":["*.gcr.io/team","!quay.io/secret"],` +
			`"path":"{domain}/{name}","ca":"/etc/ssl/other.pem","insecureSkipVerify":false,"fallback":"original"},{"address":"https://hub.example.com:8443/mirror","main":true,`,
		`{"address":"https://localhost","main":false,"priority":500,"path":"{path}","insecureSkipVerify":true,"fallback":"never"}`,
	} {
		if !strings.Contains(string(encoded), want) {
			t.Errorf("got\n%s\nwithout %s", encoded, want)
		}
	}
	for _, password := range []string{"pass:w0rd", "hunter2"} {
		if strings.Contains(string(encoded), password) {
			t.Errorf("the password is in %s", encoded)
		}
	}
}

// TestEffectiveKeys requires the effective settings to have each key of the file, and
// docs/check.md to name each field of a message and of a registry.
func TestEffectiveKeys(t *testing.T) {
	fields := func(v any) (names []string) {
		encoded, err := json.Marshal(v)
		object := map[string]any{}
		if err := errors.Join(err, json.Unmarshal(encoded, &object)); err != nil {
			t.Fatal(err)
		}
		for name := range object {
			names = append(names, name)
		}
		return names
	}
	effective := load(t, "full.yaml").Effective()
	_, err := Parse("f", []byte("unknown: 1"))
	problems, _ := errors.AsType[Problems](err)
	ofMain := []string{"address", "auth", "authFile", "offlinePriority", "match", "tags", "path", "ca", "insecureSkipVerify", "sealos"}
	for _, key := range problems[0].Keys {
		if got := slices.Contains(fields(effective), key); got == slices.Contains(ofMain, key) {
			t.Errorf("%s is among the settings: %v", key, got)
		}
	}
	doc, err := os.ReadFile("../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	registry := EffectiveRegistry{Username: "a", Password: "b", AuthFile: "/c", Match: []string{"d"}, Tags: []string{"e"}, CA: "/f"}
	message := Message{Line: 1, Column: 1, Key: "a", Text: "b", Hint: "c", Keys: []string{"d"}}
	for _, name := range slices.Concat(fields(registry), fields(message), fields(effective.Cache)) {
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("docs/check.md does not name the field %s", name)
		}
	}
}
