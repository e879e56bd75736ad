package rollout

import (
	"testing"
	"testing/synctest"
)

// TestUpgradeKilled ends the agent before each step of an upgrade of a node whose kubelet uses
// the shim. The next start of the node must not need a release that has not proven to work: the
// shim is the former one, or the switch is armed. The next agent disarms a switch of a release
// that works, and does not restart kubelet.
func TestUpgradeKilled(t *testing.T) {
	good := desired(oldVersion, "a")
	for name, next := range map[string]Desired{
		"version":               desired(newVersion, "a"),
		"configuration":         desired(oldVersion, "b"),
		"both, broken":          desired(newVersion, "broken"),
		"configuration, broken": desired(oldVersion, "broken"),
	} {
		t.Run(name, func(t *testing.T) {
			_, broken := next.Files["broken"]
			unproven := 0
			for number, more := 0, true; more; number++ {
				synctest.Test(t, func(t *testing.T) {
					n := newTestNode(t)
					n.look(t, n.agent(t, oldVersion), good, "")
					n.restarts = nil
					more = kill(number, func(change func(*Options)) *Rollout { return n.agent(t, next.Version, change) },
						func(r *Rollout) { _ = r.look(t.Context(), &next) })
					if n.pointed && !n.proven[release{n.files.Hash(), n.version}] {
						unproven++
						if !n.armed {
							t.Errorf("killed at step %d: kubelet uses an unproven shim, and the switch is not armed", number)
						}
					}
					_ = n.agent(t, next.Version).look(t.Context(), &next)
					if n.armed {
						t.Errorf("killed at step %d: the next agent leaves the switch armed", number)
					}
					if !broken {
						n.wantServing(t, next)
						if len(n.restarts) > 0 {
							t.Errorf("killed at step %d: kubelet was restarted", number)
						}
					}
				})
			}
			if unproven == 0 {
				t.Error("no step has an unproven shim")
			}
		})
	}
}
