package registry_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image-cri-shim/registry"
)

func TestCredentialHelpers(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	server := serve(t, basicAuth(contents))
	folder := t.TempDir()
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	runs := filepath.Join(folder, "runs")
	answer := fmt.Sprintf(`{"Username":%q,"Secret":%q}`, username, password)
	for name, script := range map[string]string{
		"right":  "read server; test \"$server\" = " + server.host() + " || exit 3; echo run >> " + runs + "\ncat <<'END'\n" + answer + "\nEND",
		"fails":  "echo canary; echo canary >&2; exit 7",
		"none":   "echo 'credentials not found in native keychain'; exit 1",
		"broken": "echo '{\"canary'",
		"hangs":  "sleep 100",
		"floods": "yes canary",
	} {
		if err := os.WriteFile(filepath.Join(folder, "docker-credential-"+name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct{ helper, reason string }{
		{"right", ""},
		{"fails", "exit status 7"},
		{"none", "none configured"},
		{"broken", "printed no credentials"},
		{"hangs", "did not answer in time"},
		{"floods", `helper "floods"`},
		{"missing", "is not in PATH"},
		{"../right", "is not a bare name"},
	}
	for _, test := range tests {
		for kind, file := range map[string]object{
			"credHelpers": {"credHelpers": object{server.host(): test.helper}},
			"credsStore":  {"credsStore": test.helper, "auths": object{server.host(): object{}}},
		} {
			t.Run(kind+" "+strings.ReplaceAll(test.helper, "/", "_"), func(t *testing.T) {
				_ = os.Remove(runs)
				path := filepath.Join(t.TempDir(), "config.json")
				writeAuthFile(t, path, file)
				options := registry.Options{Registries: []registry.Config{{Address: server.URL, AuthFile: path}}}
				if test.helper == "hangs" {
					options.LookupTimeout = 100 * time.Millisecond
				}
				set := newSet(t, options)
				got := findOne(t, set, "nginx:1.25")
				if (got.State == registry.Found) != (test.reason == "") || !strings.Contains(fmt.Sprint(got.Err), test.reason) && test.reason != "" && test.helper != "hangs" {
					t.Fatalf("%v (%v), want %q", got.State, got.Err, test.reason)
				}
				checkNoSecret(t, fmt.Sprint(got.Err))
				if test.reason != "" {
					return
				}
				if again := findOne(t, set, "nginx:gone"); again.State != registry.Absent {
					t.Errorf("%v (%v), want it absent", again.State, again.Err)
				}
				if data, err := os.ReadFile(runs); err != nil || string(data) != "run\n" || got.Credentials.Password != password {
					t.Errorf("the helper ran as %q (%v) for %v", data, err, got.Credentials)
				}
			})
		}
	}
}

// A helper that fails quickly is run again at once, because it may have been repaired.
func TestHelperThatIsMended(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	server := serve(t, basicAuth(contents))
	folder := t.TempDir()
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	path := filepath.Join(folder, "config.json")
	writeAuthFile(t, path, object{"credsStore": "mended"})
	set := newSet(t, registry.Options{LookupTimeout: testTimeout, Registries: []registry.Config{{Address: server.URL, AuthFile: path}}})
	for _, step := range []struct {
		script string
		want   registry.State
	}{
		{"exit 1", registry.Unknown},
		{"cat <<'END'\n" + fmt.Sprintf(`{"Username":%q,"Secret":%q}`, username, password) + "\nEND", registry.Found},
	} {
		if err := os.WriteFile(filepath.Join(folder, "docker-credential-mended"), []byte("#!/bin/sh\n"+step.script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if answer := findOne(t, set, "nginx:1.25"); answer.State != step.want {
			t.Errorf("%v (%v), want %v", answer.State, answer.Err, step.want)
		}
	}
}

// If a registry rejects the login of a helper, the helper is run again.
func TestHelperIsAskedAgainAfterARefusal(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	server := serve(t, basicAuth(contents))
	folder := t.TempDir()
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	says := func(secret string) {
		t.Helper()
		script := fmt.Sprintf("#!/bin/sh\ncat <<'END'\n{\"Username\":%q,\"Secret\":%q}\nEND\n", username, secret)
		if err := os.WriteFile(filepath.Join(folder, "docker-credential-rotating"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(folder, "config.json")
	writeAuthFile(t, path, object{"credsStore": "rotating"})
	set := newSet(t, registry.Options{Registries: []registry.Config{{Address: server.URL, AuthFile: path}}})
	says("canary-old")
	if answer := findOne(t, set, "nginx:1.25"); answer.State != registry.Unknown {
		t.Fatalf("with the old password: %v, want it unknown", answer.State)
	}
	says(password)
	if answer := findOne(t, set, "nginx:1.25"); answer.State != registry.Found || answer.Credentials.Password != password {
		t.Errorf("with the new one: %v (%v), want it found", answer.State, answer.Err)
	}
}

// A helper that hangs delays one pull from its registry by the time of a lookup. It does not
// delay later pulls, or other registries on the host.
func TestHelperThatHangsTakesNoSlot(t *testing.T) {
	contents := newStorage()
	contents.push(t, "public/library/nginx:1.25")
	server := serve(t, contents)
	folder := t.TempDir()
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	if err := os.WriteFile(filepath.Join(folder, "docker-credential-hanging"), []byte("#!/bin/sh\nexec sleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "config.json")
	writeAuthFile(t, path, object{"credsStore": "hanging"})
	set := newSet(t, registry.Options{LookupTimeout: time.Second, Registries: []registry.Config{
		{Address: server.URL + "/public", Priority: 2}, {Address: server.URL + "/private", AuthFile: path, Priority: 1},
	}})
	for i := range 10 { // more than there are slots
		begin(t, set, fmt.Sprintf("app:%d", i))
	}
	for answer := range set.Find(t.Context(), parse(t, "nginx:1.25")) {
		if answer.State != registry.Found || answer.Duration > time.Second/2 {
			t.Errorf("%v after %v (%v), want it found at once", answer.State, answer.Duration, answer.Err)
		}
		break
	}
	finally(t, set, "nginx:1.25")
	for i := range 5 {
		begun := time.Now()
		answer := find(t, set, fmt.Sprintf("nginx:%d", i))[1]
		if took := time.Since(begun); took > time.Second/2 || !strings.Contains(fmt.Sprint(answer.Err), "did not answer in time") {
			t.Errorf("%v (%v) after %v, want the failure that is known", answer.State, answer.Err, took)
		}
	}
}
