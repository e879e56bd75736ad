package service

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/agent/host"
	"image-cri-shim/config"
)

// An installation is complete, and every further one changes only the differences.
func TestApply(t *testing.T) {
	n := newNode(t, nil)
	files := Files{ConfigKey: configuration(""), "ca.pem": []byte("certificate")}
	s := n.service(t, "v1.0.0")
	if restarted, err := install(t.Context(), s, files); err != nil || !restarted {
		t.Fatalf("restarted %t, %v", restarted, err)
	}
	wantNoDrift(t, s, files)
	for _, step := range []struct {
		name, version, configuration string
		restarted                    bool
	}{
		{"the same", "v1.0.0", "", false},
		{"a key that is reloaded", "v1.0.0", "fallback: never\n", false},
		{"a key that needs a restart", "v1.0.0", "fallback: never\nnames: ledger\n", true},
		{"another version", "v1.1.0", "fallback: never\nnames: ledger\n", true},
		{"the version before", "v1.0.0", "fallback: never\nnames: ledger\n", true},
		{"another state directory", "v1.0.0", "image: /var/lib/elsewhere\n", true},
		{"a third version", "v1.2.0", "image: /var/lib/elsewhere\n", true},
	} {
		files[ConfigKey] = configuration(step.configuration)
		s = n.service(t, step.version)
		if needed, err := s.NeedsRestart(t.Context(), files); err != nil || needed != step.restarted {
			t.Errorf("%s: NeedsRestart returns %t, %v; want %t", step.name, needed, err, step.restarted)
		}
		if restarted, err := install(t.Context(), s, files); err != nil || restarted != step.restarted {
			t.Fatalf("%s: restarted %t, %v; want %t", step.name, restarted, err, step.restarted)
		}
		wantNoDrift(t, s, files)
		if got := n.version(t, s); got != step.version {
			t.Errorf("%s: version %s serves, want %s", step.name, got, step.version)
		}
	}
	entries, err := os.ReadDir(filepath.Join(n.root, VersionsFolder))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if got, want := strings.Join(names, " "), "current previous v1.0.0 v1.2.0"; got != want {
		t.Errorf("versions: %s, want %s", got, want)
	}
	if err := s.Probe(t.Context()); err != nil {
		t.Error(err)
	}
}

// A running binary of the same version with other content is exchanged, and the shim restarted.
func TestApplyReplacesARunningBinary(t *testing.T) {
	n := newNode(t, nil)
	files := Files{ConfigKey: configuration("")}
	s := n.service(t, "v1.0.0")
	if _, err := install(t.Context(), s, files); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(s.release.Binary)
	if err != nil {
		t.Fatal(err)
	}
	s.release.Binary = filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(s.release.Binary, append(content, "more"...), 0o700); err != nil {
		t.Fatal(err)
	}
	wantDrift(t, s, files, "/opt/image-cri-shim/v1.0.0/image-cri-shim is missing or was changed")
	if restarted, err := install(t.Context(), s, files); err != nil || !restarted {
		t.Errorf("restarted %t, %v; want true", restarted, err)
	}
	wantNoDrift(t, s, files)
}

// An installation that is killed at any request to systemd is completed by the next one.
func TestApplyIsKilled(t *testing.T) {
	n := newNode(t, map[string]string{"etc/image-cri-shim.yaml": "original"})
	empty := inventory(t, n.root)
	for kill := 1; ; kill++ {
		files := Files{ConfigKey: configuration("names: ledger\n"), "auth.json": []byte("{}")}
		s := n.service(t, "v1.0.0")
		n.systemd.kill = kill
		ended := killed(func() { _, _ = install(t.Context(), s, files) })
		n.systemd.kill = 0
		s = n.service(t, "v1.0.0")
		if _, err := install(t.Context(), s, files); err != nil {
			t.Fatalf("after kill %d: %v", kill, err)
		}
		wantNoDrift(t, s, files)
		if err := s.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := withoutAgentState(t, n); got != empty {
			t.Fatalf("after kill %d and removal:\n%swant:\n%s", kill, got, empty)
		}
		if !ended {
			t.Logf("%d points", kill-1)
			return
		}
	}
}

// A release that does not serve leaves the former one in force.
func TestApplyRollsBack(t *testing.T) {
	n := newNode(t, nil)
	good := Files{ConfigKey: configuration("")}
	s := n.service(t, "v1.0.0")
	if _, err := install(t.Context(), s, good); err != nil {
		t.Fatal(err)
	}
	before := inventory(t, n.root)
	// This release reports another version than it should.
	broken := n.service(t, "v1.1.0")
	broken.release.Version = "v2.0.0"
	_, err := install(t.Context(), broken, Files{ConfigKey: configuration("debug: true\n")})
	if err == nil || !strings.Contains(err.Error(), `serves as version "v1.1.0", expected "v2.0.0"`) {
		t.Errorf("error is %v", err)
	}
	if _, err := s.Apply(t.Context(), good); err != nil {
		t.Error(err)
	}
	if !exists(broken.path(broken.Binary())) {
		t.Error("the binary of the switch is gone")
	}
	if err := os.RemoveAll(filepath.Join(n.root, VersionsFolder, "v2.0.0")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(n.root, previousLink)); err != nil {
		t.Fatal(err)
	}
	if after := inventory(t, n.root); withoutRecords(after) != withoutRecords(before) {
		t.Errorf("files:\n%swant:\n%s", after, before)
	}
	wantNoDrift(t, s, good)
}

// A first installation that fails leaves no unit and no process.
func TestFirstApplyRollsBack(t *testing.T) {
	n := newNode(t, nil)
	s := n.service(t, "v1.1.0")
	s.release.Version = "v2.0.0"
	if _, err := install(t.Context(), s, Files{ConfigKey: configuration("")}); err == nil {
		t.Fatal("there was no error")
	}
	for _, path := range []string{config.DefaultFile, unitFolder + "/" + serviceUnit, currentLink} {
		if exists(s.path(path)) {
			t.Errorf("%s remains", path)
		}
	}
	if n.systemd.shim != nil || n.systemd.listens || len(n.systemd.enabled) > 0 {
		t.Errorf("units remain: %v", n.systemd.enabled)
	}
}

// A signal during Apply neither restores the former files nor restarts the shim.
func TestApplyIsCanceled(t *testing.T) {
	n := newNode(t, nil)
	s := n.service(t, "v1.0.0")
	if _, err := install(t.Context(), s, Files{ConfigKey: configuration("")}); err != nil {
		t.Fatal(err)
	}
	files := Files{ConfigKey: configuration("names: ledger\n")}
	s = n.service(t, "v1.1.0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n.systemd.onCall = func(call string) {
		if call == "restart "+serviceUnit {
			cancel()
		}
	}
	n.systemd.calls = nil
	if _, err := install(ctx, s, files); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want canceled", err)
	}
	if got, want := strings.Join(n.systemd.calls, ", "), "restart "+serviceUnit; got != want {
		t.Errorf("requests: %s, want %s", got, want)
	}
	n.systemd.onCall = nil
	s = n.service(t, "v1.1.0")
	if _, err := install(t.Context(), s, files); err != nil {
		t.Fatal(err)
	}
	wantNoDrift(t, s, files)
}

// With a package, only the configuration is written, and a drop-in for another socket.
func TestApplyToAPackage(t *testing.T) {
	n := newNode(t, packageFiles)
	n.putShim(t, "usr/bin/image-cri-shim")
	before := inventory(t, n.root)
	files := Files{ConfigKey: configuration("")}
	s := n.service(t, "v1.0.0")
	if _, err := install(t.Context(), s, files); err != nil {
		t.Fatal(err)
	}
	wantNoDrift(t, s, files)
	if got := n.version(t, s); got != "v0.9.0" {
		t.Errorf("version %s serves, want the package's", got)
	}
	if exists(s.path(VersionsFolder)) || exists(s.path(dropInOf(socketUnit))) || exists(s.path(unitFolder+"/"+serviceUnit)) {
		t.Errorf("more than the configuration was written:\n%s", inventory(t, n.root))
	}
	files[ConfigKey] = configuration("shim: /run/other.sock\n")
	if _, err := install(t.Context(), s, files); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(s.path(dropInOf(socketUnit))); err != nil || !strings.Contains(string(content), "ListenStream=\nListenStream=/run/image-cri-shim.sock\n") || !strings.Contains(string(content), "Symlinks=/run/other.sock\n") {
		t.Errorf("drop-in: %v\n%s", err, content)
	}
	if err := s.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(n.root, shimState)); err != nil { // the package's
		t.Fatal(err)
	}
	if got := withoutAgentState(t, n); got != before {
		t.Errorf("after the removal:\n%swant:\n%s", got, before)
	}
}

// withoutAgentState removes the empty state folder, as the agent does, and returns the inventory.
func withoutAgentState(t *testing.T, n *node) string {
	t.Helper()
	_ = os.Remove(filepath.Join(n.root, host.StateFolder)) // missing, or not empty and listed
	return inventory(t, n.root)
}

// withoutRecords removes the lines of the agent's and the shim's state from an inventory.
func withoutRecords(inventory string) (rest string) {
	for line := range strings.Lines(inventory) {
		if !strings.Contains(line, "/var/lib/") {
			rest += line
		}
	}
	return rest
}
