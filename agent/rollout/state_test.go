package rollout

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"image-cri-shim/agent/status"
	"image-cri-shim/config"
	"image-cri-shim/explain"
)

// TestState requires the state in the status after a look, and applying during it.
func TestState(t *testing.T) {
	failure := errors.New("disk full")
	refusing := func(context.Context, *config.Config) (explain.ShimStatus, error) {
		return explain.ShimStatus{Version: newVersion, Refused: "line 3", Clients: []explain.ShimClient{{Name: "kubelet"}}}, nil
	}
	for name, c := range map[string]struct {
		prepare func(*testNode, *Options, *Desired)
		want    status.State
	}{
		"ready":   {func(*testNode, *Options, *Desired) {}, status.Ready},
		"invalid": {func(_ *testNode, _ *Options, d *Desired) { d.Files["invalid"] = nil }, status.Refused},
		"gate":    {func(n *testNode, _ *Options, _ *Desired) { n.unreached = []string{"a:5000", "b:5000"} }, status.Refused},
		"source": {func(_ *testNode, _ *Options, d *Desired) {
			*d = Desired{Version: newVersion, Err: errors.New("no key")}
		}, status.Refused},
		"running shim": {func(_ *testNode, o *Options, _ *Desired) { o.About = refusing }, status.Refused},
		"install":      {func(n *testNode, _ *Options, _ *Desired) { n.fails["install"] = failure }, status.Failed},
		"start":        {func(n *testNode, _ *Options, _ *Desired) { n.fails["apply "+newVersion] = failure }, status.Waiting},
		"probe":        {func(n *testNode, _ *Options, _ *Desired) { n.fails["probe"] = failure }, status.Waiting},
		"kubelet":      {func(n *testNode, _ *Options, _ *Desired) { n.kubeletFails = true }, status.Waiting},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, d := newTestNode(t), desired(newVersion, "a")
				steps := 0
				r := n.agent(t, newVersion, func(o *Options) {
					o.Step = func(name string) {
						steps++
						if s := n.status(t); s.State != status.Applying || s.Step != name {
							t.Errorf("during the step %s, the status has the state %q and the step %q", name, s.State, s.Step)
						}
					}
					c.prepare(n, o, &d)
				})
				err := r.look(t.Context(), &d)
				s := n.status(t)
				if s.State != c.want || s.State != s.StateAt(time.Now()) || (s.State == status.Ready) != (err == nil) {
					t.Errorf("the state is %q after %v, want %q", s.State, err, c.want)
				}
				if name != "source" && steps == 0 {
					t.Error("no step was taken")
				}
				if later := s.StateAt(time.Now().Add(time.Hour)); later != status.Stale {
					t.Errorf("the state is %q an hour later, want stale", later)
				}
			})
		})
	}
}

// TestStateOfLaterLooks follows the state through a refused configuration, a corrected one, a
// failure with its wait, and the removal.
func TestStateOfLaterLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, good := newTestNode(t), desired(newVersion, "a")
		r := n.agent(t, newVersion)
		want := func(when string, want status.State) {
			t.Helper()
			if got := n.status(t).State; got != want {
				t.Errorf("%s: the state is %q, want %q", when, got, want)
			}
		}
		n.look(t, r, good, "")
		want("first configuration", status.Ready)
		n.look(t, r, desired(newVersion, "invalid"), "check the configuration")
		want("invalid configuration", status.Refused)
		n.look(t, r, good, "")
		want("corrected configuration", status.Ready)
		next := desired(newVersion, "broken")
		n.look(t, r, next, "the shim does not answer")
		want("failed configuration", status.Waiting)
		time.Sleep(time.Minute)
		n.look(t, r, next, "next attempt at")
		want("a minute later", status.Waiting)
		n.look(t, r, good, "")
		want("former configuration", status.Ready)
		n.connected = false
		n.look(t, r, good, "kubelet is not connected")
		want("kubelet disconnected", status.Failed)
		n.connected = true
		remover := n.agent(t, newVersion, func(o *Options) { o.Command = "remove" })
		if err := remover.RunRemove(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		want("removal", status.Removed)
	})
}
