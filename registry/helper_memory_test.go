package registry

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What a helper says counts for five minutes.
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
