package config

import (
	"strings"
	"testing"
)

func TestListenAddress(t *testing.T) {
	for written, want := range map[string]string{
		"127.0.0.1:9465":       "127.0.0.1:9465",
		"9465":                 "127.0.0.1:9465",
		"\"9465\"":             "127.0.0.1:9465",
		":9465":                "127.0.0.1:9465",
		"localhost:9465":       "localhost:9465",
		"\"[::1]:9465\"":       "[::1]:9465",
		"/run/shim/m.sock":     "/run/shim/m.sock",
		"unix:///run//m.sock":  "/run/m.sock",
		"node-1.example.com:1": "node-1.example.com:1",
		"''":                   "",
		"~":                    "",
	} {
		config, err := Parse("f", []byte("metrics: "+written))
		if err != nil {
			t.Errorf("%s is refused: %v", written, err)
		} else if config.Metrics != want {
			t.Errorf("%s is read as %s, want %s", written, config.Metrics, want)
		}
	}
	for _, written := range []string{
		"true", "[9465]", "0", "65536", "-1", "9465.5", "0x10", "127.0.0.1", "\"127.0.0.1:\"", "127.0.0.1:http", "::1:9465", "http://127.0.0.1:9465", "a b:9465", "unix:m.sock", "m.sock", "/" + pathOfLength(107),
	} {
		if config, err := Parse("f", []byte("metrics: "+written)); err == nil {
			t.Errorf("%s is read as %s", written, config.Metrics)
		} else if !strings.Contains(err.Error(), "f:1: metrics: found ") {
			t.Errorf("%s: %v", written, err)
		}
	}
}

func TestListenAddressConflicts(t *testing.T) {
	for data, want := range map[string]string{
		"metrics: 127.0.0.1:9465":    "",
		"metrics: 127.8.8.8:9465":    "",
		"metrics: localhost:9465":    "",
		"metrics: '[::1]:9465'":      "",
		"metrics: /run/metrics.sock": "",
		"metrics: 0.0.0.0:9465":      "f:1: metrics: is open to every machine that can reach it, without a password; use 127.0.0.1 to serve this machine only",
		"metrics: '[::]:9465'":       "f:1: metrics: is open to every machine that can reach it, without a password; use 127.0.0.1 to serve this machine only",
		"metrics: node.local:9465":   "f:1: metrics: is open to every machine that can reach it, without a password; use 127.0.0.1 to serve this machine only",
		"pprof: true":                "f:1: pprof: has no effect without metrics; set metrics, or remove it",
		"pprof: false":               "",
	} {
		config, err := Parse("f", []byte(data+"\naddress: hub.local"))
		if err != nil {
			t.Errorf("%s is refused: %v", data, err)
		} else if got := strings.Join(lines(config.Warnings), "\n"); got != want {
			t.Errorf("%s: warnings %q, want %q", data, got, want)
		}
	}
	for _, data := range []string{"metrics: /run/a.sock\ncri: /run/a.sock", "metrics: /run/b.sock\nshim: unix:///run/b.sock", "metrics: /var/run/image-cri-shim.sock"} {
		if _, err := Parse("f", []byte(data)); err == nil || !strings.Contains(err.Error(), "expected a separate one") {
			t.Errorf("%s: %v", data, err)
		}
	}
}
