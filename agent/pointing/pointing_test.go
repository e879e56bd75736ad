package pointing

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var pointSteps = []string{StepArm, StepEdit, StepRestart, StepAwait, StepDisarm}

// TestPoint requires that Point points all clients by one restart of kubelet, changes nothing
// when called again, and that Unpoint restores every file.
func TestPoint(t *testing.T) {
	n := newTestNode(t)
	before := n.files()
	step, steps := recorder()
	if err := n.Point(t.Context(), n.settings, step); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(*steps, pointSteps) {
		t.Errorf("steps: %q", *steps)
	}
	n.wantPointed(true)
	for range 2 {
		step, steps = recorder()
		if err := n.Point(t.Context(), n.settings, step); err != nil || len(*steps) > 0 {
			t.Errorf("Point again: %v, steps %q", err, *steps)
		}
		if err := n.Resume(t.Context(), n.settings); err != nil {
			t.Errorf("Resume: %v", err)
		}
	}
	n.wantRestarts(1)
	for _, want := range [][]string{{StepArm, StepRevert, StepDisarm, StepAwait}, nil} {
		step, steps = recorder()
		if err := n.Unpoint(t.Context(), n.settings, step); err != nil || !slices.Equal(*steps, want) {
			t.Errorf("Unpoint: %v, steps %q, want %q", err, *steps, want)
		}
	}
	n.wantPointed(false)
	n.wantRestarts(2)
	n.wantFiles(before)
}

// TestPointFails requires that every file is restored and kubelet is well and was restarted
// once more if kubelet does not work through the shim, and that the error has the reason.
func TestPointFails(t *testing.T) {
	for name, test := range map[string]struct {
		prepare  func(n *testNode)
		restarts int
		want     string
	}{
		"kubelet exits":            {func(n *testNode) { n.failsAt = n.settings.Shim }, 2, "the files were restored, and kubelet was restarted again: kubelet does not work through the shim within 900ms, the state of kubelet.service is inactive, and journalctl -u kubelet.service shows why: kubelet did not connect to the shim"},
		"kubelet is not healthy":   {func(n *testNode) { n.unhealthy = true }, 2, "500 Internal Server Error"},
		"the shim does not serve":  {func(n *testNode) { n.stopped = true }, 0, "nothing was changed"},
		"no binary for the switch": {func(n *testNode) { _ = os.Remove(n.path(n.binary)) }, 0, "nothing was changed: the binary of the shim, /opt/image-cri-shim: "},
		"another runtime": {func(n *testNode) { n.write("/etc/crictl.yaml", "runtime-endpoint: /run/crio/crio.sock\n") }, 0,
			"nothing was changed: " + "ROOT/etc/crictl.yaml: line 1: runtime-endpoint: found /run/crio/crio.sock"},
		"a distribution to change by hand": {func(n *testNode) {
			n.write("/etc/rancher/k3s/config.yaml", "{}\n")
			n.write("/etc/rancher/k3s/config.yaml", "node-name: x\n")
		}, 0, "k3s"},
		"no kubelet": {func(n *testNode) {
			for _, file := range []string{"config.yaml", "instance-config.yaml", "kubeadm-flags.env"} {
				_ = os.Remove(n.path("/var/lib/kubelet/" + file))
			}
			_ = os.Remove(n.path("/etc/systemd/system/kubelet.service"))
		}, 0, "no file of kubelet was found"},
		"a folder that can't be edited": {func(n *testNode) {
			// The backup can't be written over a folder.
			_ = os.MkdirAll(n.path("/etc/crictl.yaml.image-cri-shim.bak"), 0o700)
		}, 0, "its backup: is not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newTestNode(t)
			test.prepare(n)
			before := n.files()
			step, _ := recorder()
			err := n.Point(t.Context(), n.settings, step)
			if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(test.want, "ROOT", n.root)) {
				t.Errorf("Point returns %v, want %s", err, test.want)
			}
			n.wantFiles(before)
			n.wantRestarts(test.restarts)
			if !n.running || n.connected || n.timer {
				t.Errorf("kubelet is running: %t, connected: %t; the timer is running: %t", n.running, n.connected, n.timer)
			}
		})
	}
}

// TestAlreadyPointed points clients that were pointed by hand. A kubelet that is connected is
// not restarted.
func TestAlreadyPointed(t *testing.T) {
	for name, connected := range map[string]bool{"connected": true, "not restarted": false} {
		t.Run(name, func(t *testing.T) {
			n := newTestNode(t)
			for _, file := range []string{"/var/lib/kubelet/config.yaml", "/var/lib/kubelet/instance-config.yaml", "/var/lib/kubelet/kubeadm-flags.env"} {
				content, err := os.ReadFile(n.path(file))
				if err != nil {
					t.Fatal(err)
				}
				n.write(file, strings.ReplaceAll(string(content), n.settings.Runtime, n.settings.Shim))
			}
			n.connected = connected
			step, _ := recorder()
			if err := n.Point(t.Context(), n.settings, step); err != nil {
				t.Fatal(err)
			}
			n.wantPointed(true)
			n.wantRestarts(map[bool]int{true: 0, false: 1}[connected])
		})
	}
}

// TestDrift requires that files that kubeadm has rewritten are reported and pointed again, and
// that only those that kubelet reads cost a restart.
func TestDrift(t *testing.T) {
	for file, restarts := range map[string]int{"/var/lib/kubelet/config.yaml": 2, "/var/lib/kubelet/instance-config.yaml": 1, "/etc/crictl.yaml": 1} {
		t.Run(filepath.Base(file), func(t *testing.T) {
			n := newTestNode(t)
			before := n.files()
			step, _ := recorder()
			if err := n.Point(t.Context(), n.settings, step); err != nil {
				t.Fatal(err)
			}
			n.write(file, before[n.path(file)])
			drift, err := n.Drift(t.Context(), n.settings)
			if want := []string{n.path(file) + " does not point at the shim"}; err != nil || !slices.Equal(drift, want) {
				t.Errorf("drift: %q, %v, want %q", drift, err, want)
			}
			if err := n.Point(t.Context(), n.settings, step); err != nil {
				t.Fatal(err)
			}
			n.wantPointed(true)
			n.wantRestarts(restarts)
			if err := n.Unpoint(t.Context(), n.settings, step); err != nil {
				t.Fatal(err)
			}
			n.wantFiles(before)
		})
	}
}

// TestCrictlProblem requires that kubelet's files of a pointed node are mended although crictl's
// file can't be.
func TestCrictlProblem(t *testing.T) {
	for name, content := range map[string]string{"another runtime": "runtime-endpoint: /run/crio/crio.sock\n", "not YAML": "a: b: c\n"} {
		t.Run(name, func(t *testing.T) {
			n := newTestNode(t)
			before := n.files()
			step, _ := recorder()
			if err := n.Point(t.Context(), n.settings, step); err != nil {
				t.Fatal(err)
			}
			const file = "/var/lib/kubelet/config.yaml"
			n.write("/etc/crictl.yaml", content)
			if drift, err := n.Drift(t.Context(), n.settings); err != nil || len(drift) > 0 {
				t.Errorf("drift: %q, %v", drift, err)
			}
			n.write(file, before[n.path(file)])
			if drift, err := n.Drift(t.Context(), n.settings); err != nil || len(drift) != 1 {
				t.Errorf("drift: %q, %v", drift, err)
			}
			if err := n.Point(t.Context(), n.settings, step); err != nil {
				t.Fatal(err)
			}
			n.wantPointed(true)
			n.wantRestarts(2)
			if text := n.files()[n.path("/etc/crictl.yaml")]; text != content {
				t.Errorf("crictl's file is %q", text)
			}
		})
	}
}

// TestFormerSocket changes the shim's socket, and kills the agent at each step of moving the
// clients.
func TestFormerSocket(t *testing.T) {
	for _, step := range append(slices.Clone(pointSteps), "none") {
		for _, acts := range []bool{false, true} {
			t.Run(step, func(t *testing.T) {
				n := newTestNode(t)
				before := n.files()
				next, _ := recorder()
				if err := n.Point(t.Context(), n.settings, next); err != nil {
					t.Fatal(err)
				}
				former := n.settings.Shim
				n.settings.Shim = n.path("/run/next.sock")
				const file = "/etc/image-cri-shim.yaml"
				before[n.path(file)] = strings.ReplaceAll(before[n.path(file)], former, n.settings.Shim)
				n.write(file, before[n.path(file)])
				_ = killAt(step, func(step func(string)) error { return n.Point(t.Context(), n.settings, step) })
				if acts && n.timer {
					if err := n.fire(); err != nil {
						t.Fatal(err)
					}
					n.timer = false
					n.wantFiles(withSwitch(n, before))
				}
				_ = n.Resume(t.Context(), n.settings)
				if err := n.Point(t.Context(), n.settings, next); err != nil {
					t.Fatal(err)
				}
				n.wantPointed(true)
				if sockets := must(n.sockets()); !slices.Equal(sockets, []string{n.settings.Shim}) {
					t.Errorf("recorded: %q", sockets)
				}
				if err := n.Unpoint(t.Context(), n.settings, next); err != nil {
					t.Fatal(err)
				}
				n.wantFiles(before)
			})
		}
	}
}

// withSwitch adds the files of the switch to the expected ones.
func withSwitch(n *testNode, files map[string]string) map[string]string {
	all := make(map[string]string)
	for path, content := range files {
		all[path] = content
	}
	for path, content := range n.files() {
		if strings.Contains(path, "image-cri-shim-revert") {
			all[path] = content
		}
	}
	return all
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
