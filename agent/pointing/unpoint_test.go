package pointing

import (
	"os"
	"strings"
	"testing"
	"time"

	"image-cri-shim/config"
)

// TestUnpoint points clients back on nodes on which parts of the shim are missing.
func TestUnpoint(t *testing.T) {
	const file = "/etc/image-cri-shim.yaml"
	for name, prepare := range map[string]func(n *testNode, settings *config.Config) *config.Config{
		"all is well": func(_ *testNode, settings *config.Config) *config.Config { return settings },
		"the shim is dead": func(n *testNode, settings *config.Config) *config.Config {
			n.stopped = true
			return settings
		},
		"the configuration is invalid": func(n *testNode, _ *config.Config) *config.Config {
			n.write(file, "shim: "+n.settings.Shim+"\nimage: "+n.settings.StateDirectory+"\ncri: "+n.settings.Runtime+"\nauht: x\n")
			return nil
		},
		"the configuration is missing": func(n *testNode, _ *config.Config) *config.Config {
			_ = os.Remove(n.path(file))
			return nil
		},
		"the binary is missing": func(n *testNode, settings *config.Config) *config.Config {
			_ = os.Remove(n.path(n.binary))
			return settings
		},
		"the switch can't be armed": func(n *testNode, settings *config.Config) *config.Config {
			n.armFail = true
			return settings
		},
		"crictl's file is broken": func(n *testNode, settings *config.Config) *config.Config {
			n.write("/etc/crictl.yaml", "a: b: c\n")
			return settings
		},
		"kubeadm has rewritten the configuration": func(n *testNode, settings *config.Config) *config.Config {
			for _, file := range []string{"config.yaml", "kubeadm-flags.env"} {
				content, _ := os.ReadFile(n.path("/var/lib/kubelet/" + file))
				text := strings.ReplaceAll(string(content), "endpoint=unix://", "endpoint=")
				n.write("/var/lib/kubelet/"+file, strings.ReplaceAll(text, n.settings.Shim, n.settings.Runtime))
			}
			return settings // kubelet is still connected
		},
	} {
		for _, step := range []string{"none", StepArm, StepRevert, StepDisarm, StepAwait} {
			t.Run(name+" "+step, func(t *testing.T) {
				n := newTestNode(t)
				before := n.files()
				next, _ := recorder()
				if err := n.Point(t.Context(), n.settings, next); err != nil {
					t.Fatal(err)
				}
				settings := prepare(n, n.settings)
				_ = killAt(step, func(step func(string)) error { return n.Unpoint(t.Context(), settings, step) })
				for range 2 {
					if err := n.Unpoint(t.Context(), settings, next); err != nil {
						t.Fatal(err)
					}
				}
				n.wantRestarts(2)
				for _, prepared := range []string{file, n.binary, "/etc/crictl.yaml"} {
					if content, err := os.ReadFile(n.path(prepared)); err != nil {
						delete(before, n.path(prepared))
					} else if strings.HasPrefix(string(content), "a: b") || prepared == file {
						before[n.path(prepared)] = string(content)
					}
				}
				delete(before, n.path("/etc/crictl.yaml.image-cri-shim.bak"))
				if name == "crictl's file is broken" {
					_ = os.Remove(n.path("/etc/crictl.yaml.image-cri-shim.bak"))
				}
				n.wantFiles(before)
				if !n.running || n.connected || n.timer {
					t.Errorf("kubelet is running: %t, connected: %t; the timer is running: %t", n.running, n.connected, n.timer)
				}
			})
		}
	}
}

// TestUnpointWaits requires that a kubelet that does not work without the shim is an error each
// time, and that a node that never was pointed is no error.
func TestUnpointWaits(t *testing.T) {
	n := newTestNode(t)
	next, steps := recorder()
	if err := n.Unpoint(t.Context(), n.settings, next); err != nil || len(*steps) > 0 {
		t.Errorf("Unpoint before Point: %v, steps %q", err, *steps)
	}
	if err := n.Point(t.Context(), n.settings, next); err != nil {
		t.Fatal(err)
	}
	n.failsAt = n.settings.Runtime
	for range 2 {
		if err := n.Unpoint(t.Context(), n.settings, next); err == nil || !strings.Contains(err.Error(), "kubelet does not work without the shim within 900ms") {
			t.Errorf("Unpoint returns %v", err)
		}
	}
	n.wantRestarts(2)
	time.AfterFunc(timesOfTest, func() {
		n.mutex.Lock()
		defer n.mutex.Unlock()
		n.running = true
	})
	if err := n.Unpoint(t.Context(), n.settings, next); err != nil {
		t.Error(err)
	}
	n.wantPointed(false)
}

// TestUnpointAfterSwitch requires that Unpoint restarts kubelet if the switch was killed
// between its edit and the restart, although no file names the shim any more.
func TestUnpointAfterSwitch(t *testing.T) {
	n := newTestNode(t)
	before := n.files()
	next, _ := recorder()
	_ = killAt(StepDisarm, func(step func(string)) error { return n.Point(t.Context(), n.settings, step) })
	for path, content := range before {
		n.write(strings.TrimPrefix(path, n.root), content)
	}
	n.stopped = true
	if err := n.Unpoint(t.Context(), n.settings, next); err != nil {
		t.Fatal(err)
	}
	n.wantRestarts(2)
	if n.connected || n.timer {
		t.Errorf("kubelet is connected: %t; the timer is running: %t", n.connected, n.timer)
	}
}

// TestUnpointDuringARestart requires that a kubelet that the switch has restarted is not restarted
// again while its former process ends.
func TestUnpointDuringARestart(t *testing.T) {
	n := newTestNode(t)
	n.times.connect = time.Minute
	n.connected = true
	time.AfterFunc(timesOfTest, func() {
		n.mutex.Lock()
		defer n.mutex.Unlock()
		n.connected = false
	})
	next, _ := recorder()
	if err := n.Unpoint(t.Context(), n.settings, next); err != nil {
		t.Fatal(err)
	}
	n.wantRestarts(0)
}
