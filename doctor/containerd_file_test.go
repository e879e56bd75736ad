package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestContainerdFile tests the findings on the file of a containerd that does not report its
// settings.
func TestContainerdFile(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "config.toml")
	put := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := &node{Options: Options{Files: Files{Containerd: file}}, runtime: criServer{version: &cri.VersionResponse{RuntimeName: "containerd"}}}
	examine := func(level Level, text, hint string) {
		t.Helper()
		wantFinding(t, checkContainerdFile(t.Context(), n), level, text, hint)
	}
	examine(OK, "does not exist: containerd uses its defaults", "")
	n.process.config = file
	examine(Warn, "the doctor assumes containerd's defaults: ", "correct the file")
	put("config.toml", "version = 3\nimports = [\"conf.d/*.toml\", \"more.toml\"]\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/one\"\n")
	examine(OK, "does not report its settings", "")
	if got := readContainerd(file).configPath(); got != "/one" {
		t.Errorf("config_path %q without an imported file", got)
	}
	put("more.toml", "[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/two\"\n")
	if got := readContainerd(file).configPath(); got != "/two" {
		t.Errorf("config_path %q with an imported file", got)
	}
	put("more.toml", "config_path = canary")
	examine(Warn, "more.toml: line 1", "correct the file")
	if err := os.Remove(filepath.Join(folder, "more.toml")); err != nil {
		t.Fatal(err)
	}
	n.process.started = time.Now().Add(-time.Hour)
	examine(Warn, "containerd started before this change", "systemctl restart containerd")
	if err := os.Chtimes(file, time.Time{}, time.Now().Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	examine(OK, "does not report its settings", "")
	put("more.toml", "")
	examine(Warn, "or of one that it imports", "systemctl restart containerd")
	n.process.started = time.Now().Add(time.Hour)
	examine(OK, "does not report its settings", "")
	n.runtimeSettings.SandboxImage = "pause:3.9"
	examine(OK, "", "")
}

func TestConfigFlag(t *testing.T) {
	for arguments, want := range map[string]string{
		"containerd":                                      "",
		"/usr/bin/containerd --config /a.toml":            "/a.toml",
		"/usr/bin/containerd -c /a.toml --log-level=info": "/a.toml",
		"containerd --config=/a.toml -a /run/x.sock":      "/a.toml",
		"containerd -config /a.toml":                      "/a.toml",
		"--config /a.toml":                                "",
		"containerd --config":                             "",
	} {
		if got := configFlag([]byte(strings.ReplaceAll(arguments, " ", "\x00") + "\x00")); got != want {
			t.Errorf("%s: %q, want %q", arguments, got, want)
		}
	}
}

// TestStartTime requires that this process has started before now, but not long before.
func TestStartTime(t *testing.T) {
	if age := time.Since(startTime("/proc/self")); age < 0 || age > time.Minute {
		t.Errorf("this process started %v ago", age)
	}
	if got := startTime(t.TempDir()); !got.IsZero() {
		t.Errorf("a process that does not exist started at %v", got)
	}
}
