package service

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"image-cri-shim/config"
)

// A refused configuration leaves the files as they were. Its error names the line and key, and
// no secret.
func TestCheckRefuses(t *testing.T) {
	n := newNode(t, originalFiles)
	s := n.service(t, "v1.0.0")
	if err := s.InstallBinary(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := inventory(t, n.root)
	_, err := s.Check(t.Context(), Files{ConfigKey: configuration("adress: x\npassword: canary-secret\n"), "ca.pem": []byte("ours"), "new": []byte("new")})
	problems, ok := errors.AsType[config.Problems](err)
	if !ok || problems[0].Line != 5 || problems[0].Key != "adress" || problems[0].File != ConfigKey {
		t.Errorf("error is %v", err)
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("error has the secret: %v", err)
	}
	if after := withoutAgentState(t, n); after != before {
		t.Errorf("files:\n%swant:\n%s", after, before)
	}
}

// Check restores the files of an earlier Check that was not followed by Apply.
func TestCheckRestoresFilesOfAKilledOne(t *testing.T) {
	n := newNode(t, originalFiles)
	s := n.service(t, "v1.0.0")
	if err := s.InstallBinary(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Check(t.Context(), Files{ConfigKey: configuration(""), "ca.pem": []byte("ours"), "new": []byte("new")}); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(s.path(extrasFolder + "/new")); err != nil || string(content) != "new" {
		t.Errorf("the files are not in place for the check: %q, %v", content, err)
	}
	if _, err := n.service(t, "v1.0.0").Check(t.Context(), Files{ConfigKey: configuration("")}); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(s.path(extrasFolder + "/ca.pem")); err != nil || string(content) != "original" {
		t.Errorf("ca.pem has %q, %v", content, err)
	}
	if _, err := os.Stat(s.path(extrasFolder + "/new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("new remains: %v", err)
	}
}

// A binary that can't be run, or is not the shim, is an error with its output.
func TestCheckWithABrokenBinary(t *testing.T) {
	n := newNode(t, nil)
	s := n.service(t, "v1.0.0")
	s.release.Binary = t.TempDir() + "/broken"
	if err := os.WriteFile(s.release.Binary, []byte("#!/bin/sh\necho broken >&2; exit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.InstallBinary(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Check(t.Context(), Files{ConfigKey: configuration("")}); err == nil || !strings.Contains(err.Error(), "check: exit status 3: broken") {
		t.Errorf("error is %v", err)
	}
}

// Nothing that is logged or returned has the secret of the configuration.
func TestNoSecretIsLogged(t *testing.T) {
	n := newNode(t, nil)
	s := n.service(t, "v1.0.0")
	files := Files{ConfigKey: configuration("lookupTimeout: 100ms\n"), "auth.json": []byte("canary-secret")}
	if _, err := install(t.Context(), s, files); err != nil {
		t.Fatal(err)
	}
	results, err := s.LookUp(t.Context(), parsed(t, string(files[ConfigKey])))
	if err != nil || len(results) != 1 || results[0].Reachable || results[0].Address != "http://127.0.0.1:9" || !strings.Contains(results[0].Err.Error(), "refused") {
		t.Errorf("look-up: %+v, %v", results, err)
	}
	files[ConfigKey] = append(files[ConfigKey], "debug: true\n"...)
	drift, err := s.Drift(t.Context(), files)
	if err != nil || len(drift) == 0 {
		t.Errorf("drift %q, %v", drift, err)
	}
	lines := strings.Join(drift, "\n") + results[0].Err.Error()
	for _, entry := range n.log.AllEntries() {
		line, err := (&logrus.TextFormatter{}).Format(entry)
		if err != nil {
			t.Fatal(err)
		}
		lines += string(line)
	}
	if strings.Contains(lines, "canary") || !strings.Contains(lines, "wrote a file") {
		t.Errorf("log and errors:\n%s", lines)
	}
}

// Probe fails if another runtime than the configured one answers, or none.
func TestProbe(t *testing.T) {
	folder, err := os.MkdirTemp("", "probe-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	for _, name := range []string{"runtime.sock", "other.sock"} {
		serveRuntime(t, folder+"/"+name)
	}
	if err := os.Symlink("runtime.sock", folder+"/same.sock"); err != nil {
		t.Fatal(err)
	}
	for shim, want := range map[string]string{
		"same.sock":    "",
		"other.sock":   "differ from those of the runtime",
		"missing.sock": "the shim does not answer on " + folder + "/missing.sock",
	} {
		log, _ := logtest.NewNullLogger()
		s := newBelow(folder, nil, Release{}, log)
		if err := os.MkdirAll(folder+"/etc", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.configFile(), []byte("shim: /"+shim+"\ncri: /runtime.sock\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		err := s.Probe(t.Context())
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", shim, err, want)
		}
		if took := time.Since(start); took > 2*probeTimeout {
			t.Errorf("%s: the probe took %v", shim, took)
		}
	}
}
