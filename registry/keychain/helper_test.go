package keychain

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The answer of a helper is cached for five minutes.
func TestHelperIsRemembered(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	runs := filepath.Join(folder, "runs")
	script := "#!/bin/sh\necho run >> " + runs + "\n" + `echo '{"Username":"robot","Secret":"canary"}'` + "\n"
	if err := os.WriteFile(filepath.Join(folder, "docker-credential-test"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		h := newHelpers()
		expect := func(when string, want int) {
			t.Helper()
			login, err := h.get(t.Context(), helperEntry{"test", "hub.example.com"})
			if err != nil || login.Password != "canary" {
				t.Fatalf("%s: %v", when, err)
			}
			if data, err := os.ReadFile(runs); err != nil || strings.Count(string(data), "run") != want {
				t.Errorf("%s: it ran as %q (%v), want %d times", when, data, err, want)
			}
		}
		expect("at first", 1)
		time.Sleep(helperTTL - time.Second)
		expect("within five minutes", 1)
		time.Sleep(time.Second)
		expect("after five minutes", 2)
		h.forget()
		expect("when forgotten", 3)
	})
}

// The failure of a helper that hangs is cached for a minute and does not delay the helpers of
// other registries.
func TestHelperThatHangs(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	runs := filepath.Join(folder, "runs")
	script := "#!/bin/sh\nread server\nif [ $server = hangs.example.com ]; then echo run >> " + runs + "; exec sleep 1000; fi\n" + `echo '{"Username":"robot","Secret":"canary"}'` + "\n"
	if err := os.WriteFile(filepath.Join(folder, "docker-credential-test"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	h := newHelpers()
	hanging := helperEntry{"test", "hangs.example.com"}
	get := func(entry helperEntry, bound time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), bound)
		defer cancel()
		_, err := h.get(ctx, entry)
		return err
	}
	await := func(want int) { // waits for a number of runs
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			if data, _ := os.ReadFile(runs); strings.Count(string(data), "run") == want {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("the helper was not run %d times", want)
				return
			}
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- get(hanging, 2*time.Second) }()
	await(1)
	if err := get(helperEntry{"test", "hub.example.com"}, 20*time.Second); err != nil {
		t.Errorf("another registry's: %v", err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "did not answer in time") {
		t.Errorf("the first time: %v", err)
	}
	for range 3 {
		if err := get(hanging, time.Hour); err == nil || !strings.Contains(err.Error(), "did not answer in time") {
			t.Errorf("again: %v", err)
		}
	}
	await(1)
	h.known[hanging].until = time.Now() // as if the minute had passed
	ctx, cancel := context.WithCancel(t.Context())
	go func() { await(2); cancel() }()
	if _, err := h.get(ctx, hanging); err == nil {
		t.Error("no error after a minute")
	}
	if _, known := h.known[hanging]; known {
		t.Error("a canceled run was cached")
	}
}
