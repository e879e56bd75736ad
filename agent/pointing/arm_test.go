package pointing

import (
	"errors"
	"os"
	"strings"
	"testing"

	"image-cri-shim/config"
)

// TestArm requires that a pointed node has the switch until the restarted shim has proven to
// work, that another agent disarms it without restarting kubelet, and that it heals the node if
// the shim does not serve.
func TestArm(t *testing.T) {
	newSocket := func(n *testNode) *config.Config {
		settings := *n.settings
		settings.Shim = n.root + "/run/new.sock"
		return &settings
	}
	for name, c := range map[string]struct {
		next    func(n *testNode) *config.Config
		after   func(n *testNode, before map[string]string)
		pointed bool
	}{
		"disarmed": {nil, func(n *testNode, _ map[string]string) {
			if err := errors.Join(n.Disarm(n.t.Context()), n.Disarm(n.t.Context())); err != nil {
				n.t.Error(err)
			}
		}, true},
		"another agent": {nil, func(n *testNode, _ map[string]string) {
			if err := n.Resume(n.t.Context(), n.settings); err != nil {
				n.t.Error(err)
			}
		}, true},
		"another agent, shim does not answer": {nil, func(n *testNode, before map[string]string) {
			n.stopped = true
			if err := n.Resume(n.t.Context(), n.settings); err == nil {
				n.t.Error("Resume succeeds")
			}
		}, false},
		"power failure": {nil, func(n *testNode, _ map[string]string) {
			n.boot()
			if err := n.Disarm(n.t.Context()); !errors.Is(err, ErrReverted) {
				n.t.Errorf("Disarm returns %v", err)
			}
		}, false},
		"power failure, new socket": {newSocket, func(n *testNode, _ map[string]string) {
			n.settings = newSocket(n) // in the file as well
			n.boot()
			if err := n.Resume(n.t.Context(), n.settings); !errors.Is(err, ErrReverted) {
				n.t.Errorf("Resume returns %v", err)
			}
		}, false},
		"power failure, socket pointed at by hand": {newSocket, func(n *testNode, _ map[string]string) {
			n.settings = newSocket(n)
			n.boot()
			_ = n.Disarm(n.t.Context())
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := newTestNode(t)
			before := n.files()
			step, _ := recorder()
			if err := n.Point(t.Context(), n.settings, step); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, "by hand") {
				_ = os.Remove(n.path(recordFile))
			}
			n.restarts = 0
			next := n.settings
			if c.next != nil {
				next = c.next(n)
			}
			if err := n.Arm(t.Context(), next); err != nil {
				t.Fatal(err)
			}
			if s := (&revertSwitch{root: n.root}); !s.isArmed() || !n.timer {
				t.Fatalf("armed %t, timer %t", s.isArmed(), n.timer)
			}
			c.after(n, before)
			n.wantPointed(c.pointed)
			if c.pointed {
				n.wantRestarts(0)
			} else {
				n.wantFiles(before)
				n.wantRestarts(1)
			}
		})
	}
}

// TestArmWithoutClients requires that the switch is not armed for a kubelet that does not use
// the shim, and that Arm changes nothing if the switch can't work.
func TestArmWithoutClients(t *testing.T) {
	n := newTestNode(t)
	before := n.files()
	if err := n.Arm(t.Context(), n.settings); err != nil {
		t.Error(err)
	}
	n.wantPointed(false)
	n.wantFiles(before)
	step, _ := recorder()
	if err := n.Point(t.Context(), n.settings, step); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(n.path(n.binary))
	if err := n.Arm(t.Context(), n.settings); err == nil || !strings.Contains(err.Error(), "arm the switch: the binary of the shim, ") {
		t.Errorf("Arm without a binary: %v", err)
	}
	n.wantPointed(true)
}
