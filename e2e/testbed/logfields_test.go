package testbed

import (
	"maps"
	"testing"
)

func TestLogFields(t *testing.T) {
	for line, want := range map[string]map[string]string{
		"":                                     {},
		"no fields":                            {},
		"level=info msg=PullImage":             {"level": "info", "msg": "PullImage"},
		`asked="nginx:1.25" served= code=OK`:   {"asked": "nginx:1.25", "served": "", "code": "OK"},
		`reason="it said \"no\" = absent" a=b`: {"reason": `it said "no" = absent`, "a": "b"},
	} {
		if got := logFields(line); !maps.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}
