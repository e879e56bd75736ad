package doctor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"image-cri-shim/config"
	"image-cri-shim/registry"
)

func TestClock(t *testing.T) {
	now := time.Now()
	for skew, want := range map[time.Duration]Level{
		0: OK, -time.Second: OK, 59 * time.Second: OK, 61 * time.Second: Warn, -4 * time.Minute: Warn, 301 * time.Second: Fail, -time.Hour: Fail,
	} {
		if got := clockFinding(registry.Probe{At: now, Date: now.Add(skew)}); got.Level != want {
			t.Errorf("%v: %+v", skew, got)
		}
	}
}

func TestLatency(t *testing.T) {
	for took, want := range map[time.Duration]Level{10 * time.Millisecond: OK, time.Second: OK, 2 * time.Second: Warn} {
		if got := latencyFinding(registry.Probe{Latency: took}, 3*time.Second); got.Level != want {
			t.Errorf("%v: %+v", took, got)
		}
	}
}

// A credentials file may have logins for projects only, which must not be a failure.
func TestLogin(t *testing.T) {
	refused := errors.New("refused")
	for _, test := range []struct {
		visit      registry.Probe
		configured config.Registry
		want       Level
		hint       string // a part
	}{
		{registry.Probe{}, config.Registry{}, OK, ""},
		{registry.Probe{User: "robot"}, config.Registry{}, OK, ""},
		{registry.Probe{Login: refused}, config.Registry{}, Fail, "set the key auth of this registry in /shim.yaml"},
		{registry.Probe{Login: refused, User: "robot"}, config.Registry{}, Fail, "password of the key auth of this registry in /shim.yaml"},
		{registry.Probe{Login: refused}, config.Registry{AuthFile: "/auth.json"}, Warn, "add a login"},
		{registry.Probe{Login: refused, User: "robot"}, config.Registry{AuthFile: "/auth.json"}, Fail, "/auth.json"},
	} {
		if got := loginFinding(test.visit, test.configured, "/shim.yaml"); got.Level != test.want || !strings.Contains(got.Hint, test.hint) {
			t.Errorf("%+v: %+v", test.visit, got)
		}
	}
}

// TestPublicRegistryIsReported requires a finding that a public registry without match is
// asked only for its own host, in every spelling of its address.
func TestPublicRegistryIsReported(t *testing.T) {
	unreachable := errors.New("no such host")
	for _, test := range []struct {
		configured config.Registry
		visited    string
		want       bool
	}{
		{config.Registry{Address: "https://docker.io"}, "https://docker.io", true},
		{config.Registry{Address: "https://index.docker.io"}, "https://docker.io", true},
		{config.Registry{Address: "https://index.docker.io", Match: []string{"*"}}, "https://docker.io", false},
		{config.Registry{Address: "https://hub.example.com"}, "https://hub.example.com", false},
	} {
		n := &node{Options: Options{Settings: &config.Config{Registries: []config.Registry{test.configured}}}}
		n.probes = []registry.Probe{{Registry: test.visited, Name: unreachable}}
		said := false
		for _, finding := range checkRegistries(t.Context(), n) {
			said = said || finding.Check == "images" && strings.Contains(finding.Text, "its own host")
		}
		if said != test.want {
			t.Errorf("%v, match %q: said %v, want %v", test.configured, test.configured.Match, said, test.want)
		}
	}
}
