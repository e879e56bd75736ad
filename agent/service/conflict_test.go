package service

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// listen listens on a socket of the node.
func (n *node) listen(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(n.root, path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.(*net.UnixListener)
}

// A socket at a path of another program is refused before anything changes.
func TestSocketOfAnotherProgram(t *testing.T) {
	n := newNode(t, map[string]string{"var/lib/kubelet/config.yaml": "kind: KubeletConfiguration\n", "data/file": "", "var/spool/x": ""})
	n.listen(t, "run/other.sock")
	for name, target := range map[string]string{"run/link.sock": "other.sock", "run/runtime": "."} {
		if err := os.Symlink(target, filepath.Join(n.root, name)); err != nil {
			t.Fatal(err)
		}
	}
	s := n.service(t, "v1.0.0")
	if err := s.InstallBinary(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := inventory(t, n.root)
	for shim, want := range map[string]string{
		"/var/lib/kubelet/config.yaml": "shim: /var/lib/kubelet/config.yaml exists and is not a socket; choose another path",
		"/var/lib/kubelet":             "exists and is not a socket",
		"/run/other.sock":              "shim: /run/other.sock is in use by another program; choose another path",
		"/run/link.sock":               "shim: /run/link.sock is in use by another program",
		"/run/runtime/runtime.sock":    "shim: /run/runtime/runtime.sock is the runtime's socket; choose another path",
	} {
		files := Files{ConfigKey: configuration("shim: " + shim + "\n"), "ca.pem": []byte("ours")}
		_, checkErr := s.Check(t.Context(), files)
		_, applyErr := s.Apply(t.Context(), files)
		for _, err := range []error{checkErr, applyErr} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want %q", shim, err, want)
			}
		}
		if after := withoutAgentState(t, n); after != before {
			t.Fatalf("%s: files:\n%swant:\n%s", shim, after, before)
		}
	}
	if len(n.systemd.calls) > 0 {
		t.Errorf("requests to systemd: %q", n.systemd.calls)
	}
	if _, isLive := listenerOf(t.Context(), filepath.Join(n.root, "run/other.sock")); !isLive {
		t.Error("the other program has no socket")
	}
}

// A socket without a process, and one of the former service, are replaced.
func TestSocketOfAFormerShim(t *testing.T) {
	for name, isLive := range map[string]bool{"stale": false, "live": true} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, map[string]string{
				"etc/systemd/system/" + serviceUnit: "[Service]\nExecStart=/usr/local/bin/shim --file /etc/image-cri-shim.yaml\n",
				"etc/image-cri-shim.yaml":           string(configuration("")),
			})
			s := n.service(t, "v1.0.0")
			if isLive {
				n.runFormer(t)
			} else {
				listener := n.listen(t, "run/image-cri-shim.sock")
				listener.SetUnlinkOnClose(false)
				_ = listener.Close()
			}
			files := Files{ConfigKey: configuration("")}
			if _, err := install(t.Context(), s, files); err != nil {
				t.Fatal(err)
			}
			wantNoDrift(t, s, files)
		})
	}
}

// runFormer runs the shim of the node's unit without a socket unit, as sealos does.
func (n *node) runFormer(t *testing.T) {
	t.Helper()
	n.putShim(t, "usr/local/bin/shim")
	n.startAlone(t)
}

// A unit that an administrator masked stays masked.
func TestMaskedUnit(t *testing.T) {
	for _, name := range []string{serviceUnit, socketUnit} {
		n := newNode(t, nil)
		if err := os.Symlink(os.DevNull, filepath.Join(n.root, unitFolder, name)); err != nil {
			t.Fatal(err)
		}
		s := n.service(t, "v1.0.0")
		if err := s.InstallBinary(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := inventory(t, n.root)
		files := Files{ConfigKey: configuration("")}
		_, checkErr := s.Check(t.Context(), files)
		_, applyErr := s.Apply(t.Context(), files)
		for _, err := range []error{checkErr, applyErr} {
			if err == nil || err.Error() != name+" is masked: run systemctl unmask "+name+" on the node" {
				t.Errorf("error is %v", err)
			}
		}
		if after := withoutAgentState(t, n); after != before {
			t.Errorf("files:\n%swant:\n%s", after, before)
		}
	}
}
