package service

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"image-cri-shim/config"
)

// newAlone returns a node on which the shim of a package runs without its socket unit.
func newAlone(t *testing.T) (*node, *Service) {
	t.Helper()
	files := maps.Clone(packageFiles)
	files["etc/image-cri-shim.yaml"] = string(configuration(""))
	n := newNode(t, files)
	n.putShim(t, "usr/bin/image-cri-shim")
	if err := n.systemd.Enable(t.Context(), serviceUnit); err != nil {
		t.Fatal(err)
	}
	n.startAlone(t)
	n.systemd.calls = nil
	return n, n.service(t, "v1.0.0")
}

// wantAlone requires that the same process serves its own socket, without another request to
// systemd than these.
func (n *node) wantAlone(t *testing.T, process int, calls ...string) {
	t.Helper()
	if shim := n.systemd.shim; shim == nil || shim.Process.Pid != process || n.systemd.listens {
		t.Errorf("the shim is %v, the socket unit is active: %t; want process %d alone", shim, n.systemd.listens, process)
	}
	if got := slices.DeleteFunc(n.systemd.calls, func(call string) bool { return call == "reload" }); !slices.Equal(got, calls) {
		t.Errorf("requests to systemd: %q, want %q", got, calls)
	}
	n.systemd.calls = nil
}

// The socket unit of a package takes over from a shim with its own socket only when the shim must
// be restarted. Until it has the socket, the path leads to the runtime.
func TestApplyToAShimWithItsOwnSocket(t *testing.T) {
	n, s := newAlone(t)
	process := n.systemd.shim.Process.Pid
	files := Files{ConfigKey: configuration("fallback: never\n")}
	for _, calls := range [][]string{{"enable " + socketUnit, "reload " + serviceUnit}, nil} {
		if needed, err := s.NeedsRestart(t.Context(), files); err != nil || needed {
			t.Errorf("NeedsRestart returns %t, %v", needed, err)
		}
		if restarted, err := install(t.Context(), s, files); err != nil || restarted {
			t.Fatalf("restarted %t, %v; want false", restarted, err)
		}
		wantNoDrift(t, s, files)
		n.wantAlone(t, process, calls...)
	}
	delete(n.systemd.enabled, socketUnit)
	wantDrift(t, s, files, socketUnit+" is not enabled")

	files[ConfigKey] = configuration("names: ledger\n")
	target := ""
	n.systemd.onCall = func(call string) {
		if call == "stop "+serviceUnit {
			target, _ = os.Readlink(s.path("/run/image-cri-shim.sock")) // "" is reported below
		}
	}
	if needed, err := s.NeedsRestart(t.Context(), files); err != nil || !needed {
		t.Errorf("NeedsRestart returns %t, %v; want true", needed, err)
	}
	if restarted, err := install(t.Context(), s, files); err != nil || !restarted {
		t.Errorf("restarted %t, %v; want true", restarted, err)
	}
	wantNoDrift(t, s, files)
	if target != "runtime.sock" {
		t.Errorf("while the shim stopped, its path led to %q", target)
	}
	if !n.systemd.listens || n.systemd.shim.Process.Pid == process {
		t.Errorf("the socket unit is active: %t, process %d serves after %d", n.systemd.listens, n.systemd.shim.Process.Pid, process)
	}
}

// A shim that refuses the files on reload goes on with its socket, and reads the former files.
func TestRollBackOfAShimWithItsOwnSocket(t *testing.T) {
	n, s := newAlone(t)
	process := n.systemd.shim.Process.Pid
	files := Files{ConfigKey: configuration("ca: /etc/image-cri-shim/ca.pem\n"), "ca.pem": []byte("no certificate")}
	if _, err := s.Apply(t.Context(), files); err == nil || !strings.Contains(err.Error(), "the shim refuses the configuration") {
		t.Errorf("error is %v", err)
	}
	n.wantAlone(t, process, "enable "+socketUnit, "reload "+serviceUnit, "reload "+serviceUnit)
	if content, err := os.ReadFile(s.path(config.DefaultFile)); err != nil || string(content) != string(configuration("")) {
		t.Errorf("the configuration is %q, %v; want the former", content, err)
	}
	files = Files{ConfigKey: configuration("")}
	if restarted, err := install(t.Context(), s, files); err != nil || restarted {
		t.Errorf("restarted %t, %v; want false", restarted, err)
	}
	wantNoDrift(t, s, files)
}

// A service without a socket of its own needs the socket unit.
func TestServiceWithoutSocket(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"no file": os.Remove,
		"the runtime's, of an agent that was killed": func(path string) error { return linkTo(path, path[:strings.LastIndex(path, "/")]+"/runtime.sock") },
	} {
		t.Run(name, func(t *testing.T) {
			n, s := newAlone(t)
			files := Files{ConfigKey: configuration("")}
			if err := damage(s.path("/run/image-cri-shim.sock")); err != nil {
				t.Fatal(err)
			}
			wantDrift(t, s, files, socketUnit+" is inactive")
			if needed, err := s.NeedsRestart(t.Context(), files); err != nil || !needed {
				t.Errorf("NeedsRestart returns %t, %v; want true", needed, err)
			}
			if restarted, err := install(t.Context(), s, files); err != nil || !restarted || !n.systemd.listens {
				t.Errorf("restarted %t, %v, the socket unit is active: %t", restarted, err, n.systemd.listens)
			}
			wantNoDrift(t, s, files)
		})
	}
}

// A takeover that is killed at any request to systemd is completed by the next Apply.
func TestTakeoverIsKilled(t *testing.T) {
	for kill := 1; ; kill++ {
		n, s := newAlone(t)
		files := Files{ConfigKey: configuration("names: ledger\n")}
		n.systemd.kill = kill
		ended := killed(func() { _, _ = install(t.Context(), s, files) })
		n.systemd.kill = 0
		if _, err := install(t.Context(), s, files); err != nil {
			t.Fatalf("after kill %d: %v", kill, err)
		}
		wantNoDrift(t, s, files)
		if !n.systemd.listens {
			t.Errorf("after kill %d, the socket unit is not active", kill)
		}
		n.systemd.end()
		if !ended {
			t.Logf("%d points", kill-1)
			return
		}
	}
}
