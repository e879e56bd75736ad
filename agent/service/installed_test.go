package service

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/agent/host"
)

// handMade is a shim that an administrator installed in the folder of the versions.
var handMade = map[string]string{
	"opt/image-cri-shim/image-cri-shim":        "binary",
	"opt/image-cri-shim/site/ca.pem":           "site",
	"opt/image-cri-shim/v0.1.0/image-cri-shim": "binary",
	"etc/systemd/system/" + serviceUnit:        "[Service]\nExecStart=/opt/image-cri-shim/image-cri-shim --file /etc/image-cri-shim.yaml\n",
	"etc/image-cri-shim.yaml":                  "address: http://original\n",
}

// Remove changes nothing of a shim that the agent has not installed.
func TestRemoveOfAForeignShim(t *testing.T) {
	n := newNode(t, handMade)
	if err := os.Mkdir(filepath.Join(n.root, extrasFolder), 0o755); err != nil {
		t.Fatal(err)
	}
	s := n.service(t, "v1.0.0")
	before := inventory(t, n.root)
	if s.Installed() {
		t.Error("a shim of an administrator counts as the agent's")
	}
	if err := s.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := inventory(t, n.root); after != before || len(n.systemd.calls) > 0 {
		t.Errorf("requests %q, files:\n%swant:\n%s", n.systemd.calls, after, before)
	}
}

// Files of others in the folders of the agent survive releases and the removal.
func TestForeignFiles(t *testing.T) {
	n := newNode(t, handMade)
	if err := os.Mkdir(filepath.Join(n.root, extrasFolder), 0o755); err != nil {
		t.Fatal(err)
	}
	before := inventory(t, n.root)
	var s *Service
	for _, version := range []string{"v1.0.0", "v1.1.0", "v1.2.0"} {
		s = n.service(t, version)
		if _, err := install(t.Context(), s, Files{ConfigKey: configuration(""), "ca.pem": []byte("ours")}); err != nil {
			t.Fatal(err)
		}
		if !s.Installed() {
			t.Error("the shim is not installed")
		}
	}
	if exists(s.path(VersionsFolder + "/v1.0.0")) {
		t.Error("the version before the previous one remains")
	}
	if _, err := install(t.Context(), s, Files{ConfigKey: configuration("")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := withoutAgentState(t, n); after != before {
		t.Errorf("files:\n%swant:\n%s", after, before)
	}
	if s.Installed() {
		t.Error("the shim is installed after its removal")
	}
}

// An installation counts from its first file on, and without its state or its binaries.
func TestInstalled(t *testing.T) {
	files := Files{ConfigKey: configuration("")}
	for name, test := range map[string]struct {
		install func(context.Context, *Service) error
		lost    []string
	}{
		"the binary":       {func(ctx context.Context, s *Service) error { return s.InstallBinary(ctx) }, nil},
		"all":              {func(ctx context.Context, s *Service) error { _, err := install(ctx, s, files); return err }, nil},
		"without state":    {func(ctx context.Context, s *Service) error { _, err := install(ctx, s, files); return err }, []string{host.StateFolder}},
		"without binaries": {func(ctx context.Context, s *Service) error { _, err := install(ctx, s, files); return err }, []string{host.StateFolder, VersionsFolder}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, nil)
			s := n.service(t, "v1.0.0")
			if s.Installed() {
				t.Error("installed before the installation")
			}
			if err := test.install(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			for _, folder := range test.lost {
				if err := os.RemoveAll(s.path(folder)); err != nil {
					t.Fatal(err)
				}
			}
			if !s.Installed() {
				t.Error("not installed")
			}
			if err := s.Remove(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s.Installed() || n.systemd.shim != nil || len(n.systemd.enabled) > 0 {
				t.Errorf("units remain: %v", n.systemd.enabled)
			}
			after := withoutAgentState(t, n)
			for _, rest := range []string{VersionsFolder, serviceUnit, socketUnit, host.StateFolder} {
				if strings.Contains(after, rest) {
					t.Errorf("%s remains:\n%s", rest, after)
				}
			}
		})
	}
}
