package service

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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

// Check and LookUp use copies of the files: the running shim would read changed logins at once.
func TestCheckLeavesFilesInPlace(t *testing.T) {
	n := newNode(t, originalFiles)
	s := n.service(t, "v1.0.0")
	if err := s.InstallBinary(t.Context()); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "canary-secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	login := base64.StdEncoding.EncodeToString([]byte("admin:canary-secret"))
	files := Files{
		ConfigKey:   fmt.Appendf(nil, "cri: /run/runtime.sock\naddress: %s\nca: '/etc//image-cri-shim/ca.pem'\nauthFile: /etc/image-cri-shim/new\n", server.URL),
		"ca.pem":    ca,
		"other.pem": []byte("broken"),
		"new":       fmt.Appendf(nil, `{"auths": {%q: {"auth": %q}}}`, server.URL, login),
	}
	before := inventory(t, n.root)
	settings, err := s.Check(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	if main := settings.Registries[0]; main.CA != extrasFolder+"/ca.pem" || main.AuthFile != extrasFolder+"/new" {
		t.Errorf("the configuration has %s and %s", main.CA, main.AuthFile)
	}
	if results, err := s.LookUp(t.Context(), settings); err != nil || len(results) != 1 || !results[0].Reachable {
		t.Errorf("look-up: %+v, %v", results, err)
	}
	if info, err := os.Stat(s.path(stagingFolder)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the copies: %v, %v", info, err)
	}
	if after := withoutRecords(inventory(t, n.root)); after != withoutRecords(before) {
		t.Errorf("files after the look-up:\n%swant:\n%s", after, before)
	}
	password := files["new"]
	files["new"] = bytes.Replace(password, []byte(login), []byte(base64.StdEncoding.EncodeToString([]byte("admin:wrong"))), 1)
	if settings, err = s.Check(t.Context(), files); err != nil {
		t.Fatal(err)
	}
	if results, err := s.LookUp(t.Context(), settings); err != nil || len(results) != 1 || results[0].Reachable || !results[0].Login {
		t.Errorf("look-up with a wrong password: %+v, %v", results, err)
	}
	files["new"] = password
	files[ConfigKey] = bytes.Replace(files[ConfigKey], []byte("ca.pem"), []byte("other.pem"), 1)
	if _, err := s.Check(t.Context(), files); err == nil || !strings.Contains(err.Error(), "/etc/image-cri-shim/other.pem") || strings.Contains(err.Error(), stagingFolder) {
		t.Errorf("error for a broken ca: %v", err)
	}
	if after := withoutAgentState(t, n); after != before {
		t.Errorf("files after a refusal:\n%swant:\n%s", after, before)
	}
}

// A file of the folder that is not among the keys is refused, although a former configuration has
// left it: it is deleted with that one.
func TestCheckRefusesFormerFiles(t *testing.T) {
	n := newNode(t, nil)
	s := n.service(t, "v1.0.0")
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	own := filepath.Join(n.root, "own.pem")
	if err := os.WriteFile(own, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	const text = "force: true\ncri: /run/runtime.sock\naddress: https://127.0.0.1:9\n"
	for name, c := range map[string]struct{ key, text, want string }{
		"ca":       {"ca.pem", "ca: /etc/image-cri-shim/ca.pem\n", "image-cri-shim.yaml:4: ca: /etc/image-cri-shim/ca.pem is not among the files of the configuration; add the file with the name \"ca.pem\""},
		"authFile": {"auth.json", "authFile: /etc//image-cri-shim/auth.json\n", "image-cri-shim.yaml:4: authFile: /etc/image-cri-shim/auth.json is not among the files"},
	} {
		t.Run(name, func(t *testing.T) {
			content := ca
			if name == "authFile" {
				content = []byte("{}")
			}
			files := Files{ConfigKey: []byte(text + c.text), c.key: content}
			if _, err := install(t.Context(), s, files); err != nil {
				t.Fatal(err)
			}
			wantNoDrift(t, s, files)
			less := Files{ConfigKey: files[ConfigKey]}
			if _, err := s.Check(t.Context(), less); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
			wantNoDrift(t, s, files)
			wantDrift(t, s, less, c.want) // as after an agent that applied it
		})
	}
	// A file elsewhere is the node's. Without it, the shim could not start again.
	files := Files{ConfigKey: []byte(text + "ca: /own.pem\n")}
	if _, err := s.Drift(t.Context(), files); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	wantDrift(t, s, files, "/own.pem")
}

// Only paths of files in the folder are replaced.
func TestStagedPaths(t *testing.T) {
	s := newBelow(t.TempDir(), nil, Release{}, nil)
	files := Files{"ca.pem": nil, "a-b": nil}
	if err := s.stage(files); err != nil {
		t.Fatal(err)
	}
	staged := s.path(stagingFolder)
	for text, want := range map[string]string{
		"ca: /etc/image-cri-shim/ca.pem\n":          "ca: " + staged + "/ca.pem\n",
		"{ca: \"/etc/image-cri-shim/a-b\"}":         "{ca: \"" + staged + "/a-b\"}",
		"a: //etc/image-cri-shim//ca.pem":           "a: " + staged + "/ca.pem",
		"a: /etc/image-cri-shim/ca.pem.old":         "a: /etc/image-cri-shim/ca.pem.old",
		"a: /data/etc/image-cri-shim/ca.pem":        "a: /data/etc/image-cri-shim/ca.pem",
		"a: /etc/image-cri-shim/folder/ca.pem":      "a: /etc/image-cri-shim/folder/ca.pem",
		"/etc/image-cri-shim/ca.pem /etc/other/a-b": staged + "/ca.pem /etc/other/a-b",
	} {
		files[ConfigKey] = []byte(text)
		if got := string(s.withStagedPaths(files)); got != want {
			t.Errorf("%s becomes %s, want %s", text, got, want)
		}
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
