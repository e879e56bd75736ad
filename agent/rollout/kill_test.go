package rollout

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestKilled ends the agent before each of its steps, for a first installation, an upgrade, a
// repair, and a kubelet that fails. The next agent must end right.
func TestKilled(t *testing.T) {
	good, next := desired(oldVersion, "a"), desired(newVersion, "b")
	for name, prepare := range map[string]func(*testing.T, *testNode){
		"first": func(*testing.T, *testNode) {},
		"upgrade": func(t *testing.T, n *testNode) {
			n.look(t, n.agent(t, oldVersion), good, "")
		},
		"upgrade and drift": func(t *testing.T, n *testNode) {
			n.look(t, n.agent(t, oldVersion), good, "")
			n.pointed, n.connected = false, false
		},
		"drift": func(t *testing.T, n *testNode) {
			n.look(t, n.agent(t, newVersion), next, "")
			n.pointed, n.connected, n.files, n.version = false, false, nil, ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			for number, more := 0, true; more; number++ {
				for _, unwell := range []bool{false, true} {
					synctest.Test(t, func(t *testing.T) {
						n := newTestNode(t)
						prepare(t, n)
						n.kubeletFails = unwell
						more = kill(number, func(change func(*Options)) *Rollout { return n.agent(t, newVersion, change) },
							func(r *Rollout) { _ = r.look(t.Context(), &next) })
						if unwell && !n.connected {
							r := n.agent(t, newVersion)
							for range 12 {
								_ = r.look(t.Context(), &next)
								time.Sleep(10 * time.Minute)
								if n.pointed || n.armed {
									t.Fatalf("killed at step %d: kubelet that fails is pointed at the shim", number)
								}
							}
							n.kubeletFails = false
							time.Sleep(2 * time.Hour)
						}
						// A killed agent may have restarted a kubelet in vain, and the restart that heals
						// is never prevented.
						wantFewRestarts(t, n.restarts, maxRestarts+1)
						if t.Failed() {
							t.Fatalf("killed at step %d, unwell %t: %v", number, unwell, n.restarts)
						}
						n.look(t, n.agent(t, newVersion), next, "")
						n.wantServing(t, next)
						if len(n.restarts) > 2 && !unwell {
							t.Errorf("killed at step %d: kubelet was restarted %d times", number, len(n.restarts))
						}
					})
				}
				if !more && number < 5 {
					t.Errorf("only %d steps", number)
				}
			}
		})
	}
}

// TestRemoveKilled ends the removal before each of its steps.
func TestRemoveKilled(t *testing.T) {
	d := desired(newVersion, "a")
	for number, more := 0, true; more; number++ {
		synctest.Test(t, func(t *testing.T) {
			n := newTestNode(t)
			n.look(t, n.agent(t, newVersion), d, "")
			more = kill(number, func(change func(*Options)) *Rollout { return n.agent(t, newVersion, change) },
				func(r *Rollout) { _ = r.Remove(t.Context()) })
			r := n.agent(t, newVersion)
			if err := r.RunRemove(t.Context(), true); err != nil {
				t.Fatalf("killed at step %d: %v", number, err)
			}
			n.wantRemoved(t)
			if len(n.restarts) > 2 {
				t.Errorf("killed at step %d: kubelet was restarted %d times", number, len(n.restarts))
			}
		})
		if !more && number < 5 {
			t.Errorf("only %d steps", number)
		}
	}
}

// TestRemoveInterruptedByAgent requires that an agent installs the shim again after a removal
// that was killed, as a label that is set and removed quickly does.
func TestRemoveInterruptedByAgent(t *testing.T) {
	d := desired(newVersion, "a")
	for number, more := 0, true; more; number++ {
		synctest.Test(t, func(t *testing.T) {
			n := newTestNode(t)
			n.look(t, n.agent(t, newVersion), d, "")
			more = kill(number, func(change func(*Options)) *Rollout { return n.agent(t, newVersion, change) },
				func(r *Rollout) { _ = r.Remove(t.Context()) })
			n.look(t, n.agent(t, newVersion), d, "")
			n.wantServing(t, d)
		})
	}
}
