package config

import (
	"errors"
	"strings"
	"testing"
)

// TestNearestKey requires the suggestion for misspelled keys, which is never a retired key.
func TestNearestKey(t *testing.T) {
	for data, want := range map[string]string{
		"auht: a:b":                   "did you mean `auth`?",
		"ahtu: a:b":                   "",
		"adress: x":                   "did you mean `address`?",
		"priority: 5":                 "did you mean `offlinePriority`?",
		"Registires: []":              "did you mean `registries`?",
		"fiel: x":                     "",
		"versoin: v1":                 "",
		"snyc: 1":                     "",
		"cache: {disableStat: true}":  "",
		"cache: {domainCacheTLL: 5m}": "",
		"cache: {imageCacheTLT: 5m}":  "did you mean `imageCacheTTL`?",
		"registries: [{address: hub.local, pirority: 1}]":    "did you mean `priority`?",
		"registries: [{address: hub.local, skipVerify: no}]": "did you mean `insecureSkipVerify`?",
	} {
		if want == "" {
			want = "image-cri-shim check --verbose lists the valid keys"
		}
		_, err := Parse("f", []byte(data))
		problems, _ := errors.AsType[Problems](err)
		if len(problems) == 0 || problems[0].Text != "unknown key" || problems[0].Hint != want {
			t.Errorf("%s: got %v, want %s", data, err, want)
			continue
		}
		for _, retired := range []string{"version", "sync", "registry.d", "domainCacheTTL", "statsLogInterval", "disableStats"} {
			if strings.Contains(strings.Join(problems[0].Keys, " "), retired) {
				t.Errorf("%s: the retired key %s is among %q", data, retired, problems[0].Keys)
			}
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"auth", "auth", 0}, {"auht", "auth", 1}, {"uath", "auth", 1},
		{"auhtt", "auth", 2}, {"adress", "address", 1}, {"ca", "abc", 3}, {"kitten", "sitting", 3},
	} {
		if got := editDistance(test.a, test.b); got != test.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}
