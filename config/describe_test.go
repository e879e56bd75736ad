package config

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestDescribe(t *testing.T) {
	config := load(t, "full.yaml")
	config.Warnings = []Message{{File: "f", Line: 1, Text: "mind this"}, {File: "f", Line: 2, Text: "and that"}}
	want := `
socket    /run/shim/shim.sock
runtime   /run/crio/crio.sock
serving   at once, before the runtime answers
engine    grpc
names     requested names of pulled images are kept in the shim's ledger and restored in answers
log       one line per call (debug)
metrics   [::1]:9465, with profiles
pull      at most 1h30m before the last attempt, 500ms per registry lookup
fallback  never: an image that no registry serves is not pulled
restart   running calls have 1m to end
reload    when this file changes, and every 2m
state     /srv/shim
cache     16 answers, found for 1m, absent for 2s
trace     512KiB of finished calls are kept for --since

registries, the preferred one first
1. https://10.0.0.7
   priority  950
   login     robot, password ********
   images    *.gcr.io/team, !quay.io/secret
   fallback  original
   path      {domain}/{name}
   TLS       verified with /etc/ssl/other.pem
2. https://hub.example.com:8443/mirror, the main one
   priority  900
   login     admin, password ********
   images    docker.io
   tags      !latest
   path      dockerhub/{path}
   TLS       verified with /etc/ssl/hub.pem
3. https://localhost
   priority  500
   login     none
   images    all
   path      {path}
   TLS       NOT verified

warnings
  f:1: mind this
  f:2: and that
`
	var got bytes.Buffer
	config.Describe(&got)
	if got.String() != want[1:] {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want[1:])
	}
}

func TestDescribeDefaults(t *testing.T) {
	config := defaults()
	var got bytes.Buffer
	config.Describe(&got)
	want := `
socket      /var/run/image-cri-shim.sock
runtime     detected at start: containerd, CRI-O, cri-dockerd
serving     when the runtime answers
engine      frames
names       requested names of pulled images are kept in the runtime if it can keep them (containerd), otherwise in the shim's ledger
log         one line per pull, per removal by name, and per container whose image is looked up
metrics     none
pull        at most 15m before the last attempt, 3s per registry lookup
fallback    to the registry in the image's name
restart     running calls have 30s to end
reload      when this file changes, and every 15s
state       /var/lib/image-cri-shim
cache       1024 answers, found for 5m, absent for 30s
trace       no calls are kept for --since (traceBuffer: 0)
registries  none, the shim only forwards calls
`
	if got.String() != want[1:] {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want[1:])
	}
}

// The mask is the same for every password, so that it does not reveal the length.
func TestDescribeMasks(t *testing.T) {
	var texts []string
	for _, password := range []string{"x", "correct horse battery staple"} {
		config := Config{Registries: []Registry{{Address: "http://hub.local", Username: "admin", Password: password}}}
		var text bytes.Buffer
		config.Describe(&text)
		texts = append(texts, text.String())
	}
	if texts[0] != texts[1] || !strings.Contains(texts[0], "TLS       none (http)") {
		t.Errorf("got\n%s\nand\n%s", texts[0], texts[1])
	}
}

func TestShortDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		15 * time.Minute: "15m", time.Hour: "1h", 90 * time.Minute: "1h30m", time.Hour + time.Second: "1h0m1s",
		30 * time.Second: "30s", 20 * time.Minute: "20m", 10 * time.Hour: "10h", 500 * time.Millisecond: "500ms", 0: "0s",
	} {
		if got := ShortDuration(d); got != want {
			t.Errorf("short(%v) = %s, want %s", d, got, want)
		}
	}
}
