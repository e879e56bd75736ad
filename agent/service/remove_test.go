package service

import (
	"os"
	"path/filepath"
	"testing"

	"image-cri-shim/agent/host"
	"image-cri-shim/config"
)

// originalFiles are files that an administrator made before the installation.
var originalFiles = map[string]string{
	"etc/image-cri-shim.yaml":      "address: http://original\n",
	"etc/image-cri-shim/ca.pem":    "original",
	"etc/image-cri-shim/other.pem": "other",
}

// A removal that is killed at any request to systemd is completed by the next one, and leaves
// the node as it was before the installation.
func TestRemoveIsKilled(t *testing.T) {
	n := newNode(t, originalFiles)
	before := inventory(t, n.root)
	files := Files{ConfigKey: configuration("image: /var/lib/elsewhere\n"), "ca.pem": []byte("ours"), "auth.json": []byte("{}")}
	for kill := 1; ; kill++ {
		s := n.service(t, "v1.0.0")
		if _, err := install(t.Context(), s, files); err != nil {
			t.Fatal(err)
		}
		n.systemd.kill = kill
		ended := killed(func() { _ = s.Remove(t.Context()) })
		n.systemd.kill = 0
		for range 2 { // the second has nothing to do
			if err := n.service(t, "v1.0.0").Remove(t.Context()); err != nil {
				t.Fatalf("after kill %d: %v", kill, err)
			}
			if got := withoutAgentState(t, n); got != before {
				t.Fatalf("after kill %d:\n%swant:\n%s", kill, got, before)
			}
		}
		if n.systemd.shim != nil || n.systemd.listens || len(n.systemd.enabled) > 0 {
			t.Fatalf("after kill %d, units remain: %v", kill, n.systemd.enabled)
		}
		if !ended {
			t.Logf("%d points", kill-1)
			return
		}
	}
}

// Units of an administrator run again after the removal.
func TestRemoveRestoresUnits(t *testing.T) {
	n := newNode(t, map[string]string{
		"etc/systemd/system/" + serviceUnit: "[Service]\nExecStart=/usr/local/bin/shim --file /etc/image-cri-shim.yaml\n",
		"etc/systemd/system/" + socketUnit:  "[Socket]\nListenStream=/run/image-cri-shim.sock\n",
		"etc/image-cri-shim.yaml":           string(configuration("")),
	})
	n.putShim(t, "usr/local/bin/shim")
	if err := os.Mkdir(filepath.Join(n.root, shimState), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, unit := range []string{socketUnit, serviceUnit} {
		if err := n.systemd.Enable(t.Context(), unit); err != nil {
			t.Fatal(err)
		}
		if err := n.systemd.Start(t.Context(), unit); err != nil {
			t.Fatal(err)
		}
	}
	before := withoutRecords(inventory(t, n.root))
	files := Files{ConfigKey: configuration("debug: true\n")}
	s := n.service(t, "v1.0.0")
	if restarted, err := install(t.Context(), s, files); err != nil || !restarted {
		t.Fatalf("restarted %t, %v", restarted, err)
	}
	wantNoDrift(t, s, files)
	if err := s.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := withoutRecords(inventory(t, n.root)); got != before {
		t.Errorf("after the removal:\n%swant:\n%s", got, before)
	}
	if n.systemd.shim == nil || !n.systemd.listens || !n.systemd.enabled[serviceUnit] || !n.systemd.enabled[socketUnit] {
		t.Errorf("the former units do not run: enabled %v", n.systemd.enabled)
	}
	if !exists(s.path(shimState)) {
		t.Error("the state of the former installation was removed")
	}
}

// An edited configuration stays, and the original is beside it.
func TestRemoveKeepsEdits(t *testing.T) {
	n := newNode(t, originalFiles)
	s := n.service(t, "v1.0.0")
	if _, err := install(t.Context(), s, Files{ConfigKey: configuration("")}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(n.root, config.DefaultFile)
	if err := os.WriteFile(path, configuration("debug: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	edited, err := os.ReadFile(path)
	if err != nil || string(edited) != string(configuration("debug: true\n")) {
		t.Errorf("the edited file: %v\n%s", err, edited)
	}
	original, err := read(path + ".original")
	if err != nil || string(original.Content) != originalFiles["etc/image-cri-shim.yaml"] || original.Owner.UID != 1234 || original.Mode != 0o640 {
		t.Errorf("the original: %v\n%+v", err, original)
	}
}

// An agent whose state was lost does not keep its own files as those of an administrator.
func TestRemoveWithoutRecords(t *testing.T) {
	n := newNode(t, nil)
	before := inventory(t, n.root)
	files := Files{ConfigKey: configuration(""), "ca.pem": []byte("ours")}
	s := n.service(t, "v1.0.0")
	for range 2 {
		if _, err := install(t.Context(), s, files); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(n.root, host.StateFolder)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := install(t.Context(), s, files); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := withoutAgentState(t, n); got != before {
		t.Errorf("after the removal:\n%swant:\n%s", got, before)
	}
}

// The files of a key that is gone are removed or restored.
func TestApplyRemovesObsoleteFiles(t *testing.T) {
	n := newNode(t, originalFiles)
	s := n.service(t, "v1.0.0")
	files := Files{ConfigKey: configuration(""), "ca.pem": []byte("ours"), "auth.json": []byte("{}")}
	if _, err := install(t.Context(), s, files); err != nil {
		t.Fatal(err)
	}
	delete(files, "ca.pem")
	delete(files, "auth.json")
	wantDrift(t, s, files, "auth.json is not removed, although its key is gone")
	if _, err := install(t.Context(), s, files); err != nil {
		t.Fatal(err)
	}
	wantNoDrift(t, s, files)
	if exists(s.path(extrasFolder + "/auth.json")) {
		t.Error("auth.json remains")
	}
	if content, err := os.ReadFile(s.path(extrasFolder + "/ca.pem")); err != nil || string(content) != "original" {
		t.Errorf("ca.pem has %q, %v; want the original", content, err)
	}
}
