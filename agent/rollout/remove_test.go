package rollout

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// wantRemoved requires that nothing of the shim is on the node.
func (n *testNode) wantRemoved(t *testing.T) {
	t.Helper()
	if n.files != nil || n.version != "" || len(n.installed) > 0 || n.pointed || n.connected || n.armed {
		t.Errorf("files %d, version %q, pointed %t, connected %t, armed %t", len(n.files), n.version, n.pointed, n.connected, n.armed)
	}
	if _, err := os.Stat(filepath.Join(n.folder, "state")); !os.IsNotExist(err) {
		t.Errorf("state of the agent: %v", err)
	}
	if s := n.status(t); !s.Ready || !s.Removed {
		t.Errorf("status: %+v", s)
	}
}

// TestRemove requires the order of a removal, that it is repeated after failures without
// restarting kubelet often, and that the status is ready only afterwards.
func TestRemove(t *testing.T) {
	for _, failing := range []string{"", "unpoint", "remove"} {
		synctest.Test(t, func(t *testing.T) {
			n := newTestNode(t)
			n.look(t, n.agent(t, newVersion), desired(newVersion, "a"), "")
			n.actions, n.restarts = nil, nil
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error, 1)
			r := n.agent(t, newVersion, func(o *Options) { o.Command = "remove" })
			if failing != "" {
				n.fails[failing] = errors.New("disk full")
			}
			go func() { result <- r.RunRemove(ctx, false) }()
			if failing != "" {
				n.pass(4 * time.Hour)
				if s := n.status(t); s.Ready || s.Removed || s.Failure == nil || s.Command != "remove" {
					t.Errorf("status after failures: %+v", s)
				}
				if got := len(n.restarts); got > 8 {
					t.Errorf("%d restarts within 4 hours", got)
				}
				delete(n.fails, failing)
				n.actions = nil
				n.pass(time.Hour)
			}
			n.pass(time.Minute)
			n.wantRemoved(t)
			if want := []string{"unpoint", "restart", "remove"}; failing != "remove" && !slices.Equal(n.actions, want) {
				t.Errorf("actions %q, want %q", n.actions, want)
			}
			if s := n.status(t); time.Since(s.Updated) > time.Minute {
				t.Errorf("status of %s", s.Updated)
			}
			cancel()
			if err := <-result; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRemoveOnce requires that the result of a single removal is returned.
func TestRemoveOnce(t *testing.T) {
	n := newTestNode(t)
	n.look(t, n.agent(t, newVersion), desired(newVersion, "a"), "")
	n.fails["remove"] = errors.New("disk full")
	if err := n.agent(t, newVersion).RunRemove(t.Context(), true); err == nil || err.Error() != "remove the shim: disk full" {
		t.Errorf("RunRemove returns %v", err)
	}
	delete(n.fails, "remove")
	if err := n.agent(t, newVersion).RunRemove(t.Context(), true); err != nil {
		t.Error(err)
	}
	n.wantRemoved(t)
}

// TestRemoveNothing requires that a shim stays that the agent has not installed.
func TestRemoveNothing(t *testing.T) {
	n := newTestNode(t)
	n.version, n.pointed, n.connected = "v0-package", true, true
	if err := n.agent(t, newVersion).RunRemove(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if s := n.status(t); !n.pointed || n.version == "" || len(n.actions) > 0 || !s.Ready {
		t.Errorf("actions %q, status %+v", n.actions, s)
	}
}

// TestRemoveWithoutState removes a shim of which the agent's state, or that and the shim itself,
// were deleted by hand.
func TestRemoveWithoutState(t *testing.T) {
	for _, shim := range []bool{true, false} {
		n := newTestNode(t)
		n.look(t, n.agent(t, newVersion), desired(newVersion, "a"), "")
		_ = os.RemoveAll(filepath.Join(n.folder, "state"))
		if !shim {
			n.files, n.version, n.installed, n.connected = nil, "", map[string]bool{}, false
		}
		if err := n.agent(t, newVersion).RunRemove(t.Context(), true); err != nil {
			t.Error(err)
		}
		n.wantRemoved(t)
	}
}

// TestRemoveSignal ends the removal by a signal at each step.
func TestRemoveSignal(t *testing.T) {
	for number, more := 0, true; more; number++ {
		more = false
		synctest.Test(t, func(t *testing.T) {
			n := newTestNode(t)
			n.look(t, n.agent(t, newVersion), desired(newVersion, "a"), "")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			count, before := 0, 0
			r := n.agent(t, newVersion, func(o *Options) {
				o.Step = func(string) {
					if count == number {
						cancel()
						more, before = true, len(n.actions)
					}
					count++
				}
			})
			if err := r.RunRemove(ctx, true); err != nil {
				t.Errorf("signal at step %d: %v", number, err)
			}
			if more && len(n.actions) > before+1 {
				t.Errorf("signal at step %d: actions %q after it", number, n.actions[before:])
			}
			if err := n.agent(t, newVersion).RunRemove(t.Context(), true); err != nil {
				t.Errorf("signal at step %d: %v", number, err)
			}
			n.wantRemoved(t)
		})
	}
}

// TestRemoveFromUnsupportedSystem requires that a removal from all nodes ends on one where the
// agent refuses the system, without systemd.
func TestRemoveFromUnsupportedSystem(t *testing.T) {
	n := newTestNode(t)
	r := n.agent(t, newVersion, func(o *Options) {
		o.Command, o.Service, o.Clients, o.Unsupported = "remove", nil, nil, errors.New("Talos has no systemd")
	})
	if err := r.RunRemove(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	n.wantRemoved(t)
}
