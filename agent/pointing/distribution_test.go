package pointing

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestTimesOfDistribution requires that a kubelet whose unit also runs the runtime and the
// control plane has more time, and that the switch acts later than the agent gives up.
func TestTimesOfDistribution(t *testing.T) {
	for unit, want := range map[string]struct {
		kubelet time.Duration
		timer   string
	}{
		"kubelet.service":     {time.Minute, "OnActiveSec=120\n"},
		"rke2-server.service": {3 * time.Minute, "OnActiveSec=300\n"},
	} {
		n := newTestNode(t)
		n.times = New(n, "", nil).times
		n.write("/etc/systemd/system/"+unit, "[Service]\nExecStart=/usr/local/bin/rke2 server\n")
		node, err := n.node(t.Context(), n.settings)
		if err != nil {
			t.Fatal(err)
		}
		r, err := n.Pointing.running(node, n.settings)
		if err != nil || r.unit != unit || r.times.kubelet != want.kubelet {
			t.Errorf("%s: unit %s, time %s, %v", unit, r.unit, r.times.kubelet, err)
		}
		s := n.newSwitch(node)
		if err := s.arm(t.Context()); err != nil {
			t.Fatal(err)
		}
		timer, err := os.ReadFile(n.path(unitFolder + "/" + revertTimer))
		if err != nil || !strings.Contains(string(timer), want.timer) || s.after <= r.times.kubelet {
			t.Errorf("%s: the timer is %q, %v", unit, timer, err)
		}
	}
}
