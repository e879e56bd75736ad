package rollout

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"image-cri-shim/agent/pointing"
	"image-cri-shim/agent/service"
	"image-cri-shim/agent/status"
)

var applySteps = []string{
	"install the binary", "check the configuration", "look up the registries",
	pointing.StepArm, "start the shim", "probe the shim", pointing.StepDisarm,
	"point kubelet and crictl", pointing.StepArm, pointing.StepEdit, pointing.StepRestart, pointing.StepAwait, pointing.StepDisarm,
}

// TestOrder requires that the steps of a first installation have their order, and that a second
// look does nothing.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, d := newTestNode(t), desired(newVersion, "a")
		var steps []string
		r := n.agent(t, newVersion, func(o *Options) { o.Step = func(name string) { steps = append(steps, name) } })
		n.look(t, r, d, "")
		n.wantServing(t, d)
		if !slices.Equal(steps, applySteps) {
			t.Errorf("steps are %q, want %q", steps, applySteps)
		}
		if want := []string{"install", "apply v2", "edit", "restart"}; !slices.Equal(n.actions, want) {
			t.Errorf("actions are %q, want %q", n.actions, want)
		}
		steps, n.actions = nil, nil
		r.resumed = true
		n.look(t, r, d, "")
		if len(steps)+len(n.actions) > 0 {
			t.Errorf("second look has steps %q, actions %q", steps, n.actions)
		}
		if s := n.status(t); s.Applied == nil || s.Serving != newVersion || !s.KubeletConnected || s.KubeletRestarts != 1 || s.Hash != d.Files.Hash() {
			t.Errorf("status: %+v", s)
		}
	})
}

// TestEachStepFails requires for each step of a new release that a failure leaves the former
// release, or without one, kubelet on the runtime.
func TestEachStepFails(t *testing.T) {
	failure := errors.New("disk full")
	for _, c := range []struct {
		action  string
		backoff bool // next attempt not at the next look
	}{{"install", false}, {"check", false}, {"look-up", false}, {"needs restart", false}, {"arm", false}, {"apply " + newVersion, true}, {"probe", true}, {"edit", true}} {
		for _, first := range []bool{true, false} {
			t.Run(c.action, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := newTestNode(t)
					good, next := desired(oldVersion, "a"), desired(newVersion, "b")
					if !first {
						n.look(t, n.agent(t, oldVersion), good, "")
						if c.action == "edit" {
							n.pointed, n.connected = false, false // by kubeadm
						}
					}
					n.actions = nil
					n.fails[c.action] = failure
					r := n.agent(t, newVersion)
					n.look(t, r, next, "disk full")
					switch {
					case first && (n.pointed || n.connected):
						t.Error("kubelet uses the shim")
					case !first && (n.files.Hash() != good.Files.Hash() || n.version != oldVersion):
						t.Errorf("version %s with other files serves, want the former", n.version)
					case !first && c.action != "edit" && !n.connected:
						t.Error("kubelet does not use the former shim")
					case n.checked:
						t.Error("files of the refused configuration are in place")
					}
					if f := n.status(t).Failure; f == nil || f.Next.IsZero() == c.backoff || !strings.Contains(f.Reason, "disk full") || f.Hash != next.Files.Hash() {
						t.Errorf("failure is %+v, want backoff: %t", f, c.backoff)
					}
					delete(n.fails, c.action)
					if c.backoff {
						n.actions = nil
						n.look(t, r, next, "next attempt at ")
						if len(n.actions) > 0 {
							t.Errorf("actions before the next attempt: %q", n.actions)
						}
						time.Sleep(minBackoff)
					}
					n.look(t, r, next, "")
					n.wantServing(t, next)
					if s := n.status(t); s.Failure != nil {
						t.Errorf("failure after the success: %+v", s.Failure)
					}
				})
			})
		}
	}
}

// TestUnwellKubelet requires that a kubelet that does not work through the shim is pointed back,
// and that attempts are rare.
func TestUnwellKubelet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNode(t)
		n.kubeletFails = true
		d := desired(newVersion, "a")
		start := time.Now()
		for range 8 * 20 { // hours of pods that are started again every three minutes
			r := n.agent(t, newVersion)
			n.look(t, r, d, "kubelet did not connect")
			if n.pointed {
				t.Fatal("kubelet is pointed at the shim")
			}
			time.Sleep(3 * time.Minute)
		}
		attempts := len(n.restarts) / 2
		if elapsed := time.Since(start); attempts < 4 || attempts > int(elapsed.Hours())+1 || len(n.restarts)%2 != 0 {
			t.Errorf("%d restarts in %s", len(n.restarts), elapsed)
		}
		wantFewRestarts(t, n.restarts, maxRestarts)
		next := desired(newVersion, "b") // is tried at once
		n.kubeletFails = false
		n.look(t, n.agent(t, newVersion), next, "")
		n.wantServing(t, next)
	})
}

// TestUnwellKubeletAfterUpgrade requires that a kubelet that fails is restarted twice at an
// upgrade, and not once more to mend the former release.
func TestUnwellKubeletAfterUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNode(t)
		good, next := desired(newVersion, "a"), desired(newVersion, "b")
		n.look(t, n.agent(t, newVersion), good, "")
		time.Sleep(2 * restartsWindow)
		n.pointed, n.connected, n.kubeletFails, n.restarts = false, false, true, nil
		n.look(t, n.agent(t, newVersion), next, "kubelet did not connect")
		for range 4 {
			time.Sleep(time.Minute)
			n.look(t, n.agent(t, newVersion), next, "next attempt at ")
		}
		if len(n.restarts) != 2 || n.pointed || n.files.Hash() != good.Files.Hash() {
			t.Errorf("kubelet was restarted %d times, is pointed: %t", len(n.restarts), n.pointed)
		}
		n.kubeletFails = false
		time.Sleep(time.Minute)
		n.look(t, n.agent(t, newVersion), good, "") // back to the former one
		n.wantServing(t, good)
	})
}

// wantFewRestarts requires that no hour has more restarts than most.
func wantFewRestarts(t *testing.T, restarts []time.Time, most int) {
	t.Helper()
	for i := most; i < len(restarts); i++ {
		if took := restarts[i].Sub(restarts[i-most]); took < restartsWindow {
			t.Errorf("%d restarts within %s", most+1, took)
		}
	}
}

// TestBackoff requires that the wait doubles from 5 minutes to an hour, and that another
// configuration or version begins again.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNode(t)
		r := n.agent(t, newVersion)
		first, other := desired(newVersion, "a").release(), desired(newVersion, "b").release()
		for i, want := range []time.Duration{5, 10, 20, 40, 60, 60, 60} {
			if err := r.Record.failed(first, "step", errors.New("cause"), afterBackoff); err != nil {
				t.Fatal(err)
			}
			if err := n.agent(t, newVersion).Record.held(first); !isHeld(err) {
				t.Errorf("after failure %d: held is %v", i+1, err)
			}
			if err := r.Record.held(other); err != nil {
				t.Errorf("another release: %v", err)
			}
			if err := r.Record.held(release{first.hash, "v3"}); err != nil {
				t.Errorf("another version: %v", err)
			}
			time.Sleep(want*time.Minute - time.Second)
			if r.Record.held(first) == nil {
				t.Errorf("after failure %d: not held before %d minutes", i+1, want)
			}
			time.Sleep(time.Second)
			if err := r.Record.held(first); err != nil {
				t.Errorf("after failure %d: %v after %d minutes", i+1, err, want)
			}
		}
		_ = r.Record.failed(other, "step", errors.New("cause"), afterBackoff)
		_ = r.Record.failed(first, "step", errors.New("cause"), afterBackoff)
		if f := r.Record.failure(first); f.Attempts != 1 || r.Record.failure(other) != nil {
			t.Errorf("after another release: %+v", f)
		}
	})
}

// TestRestartBudget lets kubeadm rewrite kubelet's files every minute.
func TestRestartBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, d := newTestNode(t), desired(newVersion, "a")
		r := n.agent(t, newVersion)
		n.look(t, r, d, "")
		for range 2 {
			n.pointed, n.connected = false, false
			n.look(t, r, d, "")
			n.wantServing(t, d)
			time.Sleep(time.Minute)
		}
		n.pointed, n.connected = false, false
		for range 50 {
			n.look(t, n.agent(t, newVersion), d, "restarted kubelet 3 times within an hour, and waits until ")
			time.Sleep(time.Minute)
		}
		time.Sleep(10 * time.Minute)
		n.look(t, r, d, "")
		n.wantServing(t, d)
		wantFewRestarts(t, n.restarts, maxRestarts)
	})
}

// TestJitter requires that only the first restart of kubelet waits.
func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waited := false
		for range 20 {
			n, d := newTestNode(t), desired(newVersion, "a")
			jitter := func(o *Options) { o.Jitter = time.Minute }
			start := time.Now()
			n.look(t, n.agent(t, newVersion, jitter), d, "")
			if took := time.Since(start); took > time.Minute {
				t.Errorf("the first restart of kubelet took %s", took)
			} else if took > 0 {
				waited = true
			}
			n.pointed, n.connected = false, false
			start = time.Now()
			n.look(t, n.agent(t, newVersion, jitter), d, "")
			n.look(t, n.agent(t, newVersion, jitter), desired(newVersion, "b"), "")
			if took := time.Since(start); took > 0 {
				t.Errorf("a later restart waited %s", took)
			}
		}
		if !waited {
			t.Error("no first restart waited")
		}
	})
}

// TestStatusDuringJitter requires that the status is not stale while the agent waits, before the
// first restart of kubelet and before it applies a change.
func TestStatusDuringJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 5 {
			n := newTestNode(t)
			ctx, cancel := context.WithCancel(t.Context())
			feed := make(chan Desired, 1)
			feed <- desired(newVersion, "a")
			result := run(ctx, n.agent(t, newVersion, func(o *Options) { o.Live, o.Jitter = true, 3*time.Hour }), feed)
			want := func(state status.State, end func() bool) {
				t.Helper()
				for deadline := time.Now().Add(4 * time.Hour); !end() && time.Now().Before(deadline); n.pass(20 * time.Second) {
					if s := n.status(t); s.StateAt(time.Now()) != state {
						t.Fatalf("the state is %q, %s after the last report, want %q", s.StateAt(time.Now()), time.Since(s.Updated), state)
					}
				}
			}
			n.pass(time.Second)
			want(status.Applying, func() bool { return n.status(t).Ready })
			feed <- desired(newVersion, "b")
			n.pass(time.Second)
			want(status.Ready, func() bool { return n.status(t).Applied.Hash == desired(newVersion, "b").Files.Hash() })
			cancel()
			<-result
		}
	})
}

// TestPointedByHand requires that kubelet is not restarted if it uses the shim already, and that
// it is if only its files name the shim.
func TestPointedByHand(t *testing.T) {
	for _, connected := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			n, d := newTestNode(t), desired(newVersion, "a")
			n.pointed, n.connected = true, connected
			start := time.Now()
			n.look(t, n.agent(t, newVersion, func(o *Options) { o.Jitter = time.Hour }), d, "")
			n.wantServing(t, d)
			if got := len(n.restarts); (got == 0) != connected || connected && time.Since(start) > 0 {
				t.Errorf("connected before: %t, kubelet was restarted %d times after %s", connected, got, time.Since(start))
			}
		})
	}
}

// TestGate requires that each gate refuses the registries that it must.
func TestGate(t *testing.T) {
	for _, c := range []struct {
		gate          Gate
		before, after []string // registries that are not reached
		refused       string
	}{
		{WasReachable, nil, nil, ""},
		{WasReachable, nil, []string{"b:5000"}, "registries can't be reached that the former configuration reached: b:5000: connection refused"},
		{WasReachable, []string{"b:5000"}, []string{"b:5000"}, ""},
		{WasReachable, []string{"b:5000"}, []string{"a:5000", "b:5000"}, "reached: a:5000: connection refused;"},
		{WasReachable, nil, []string{"a:5000", "b:5000"}, "registries can't be reached: a:5000: connection refused; b:5000: connection refused; correct their addresses, or set registryGate to off"},
		{All, []string{}, []string{"b:5000"}, "registries can't be reached: b:5000: connection refused;"},
		{Off, nil, []string{"a:5000", "b:5000"}, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := newTestNode(t)
			n.unreached = c.before
			gate := func(o *Options) { o.Gate = c.gate }
			good, next := desired(newVersion, "a"), desired(newVersion, "b")
			n.look(t, n.agent(t, newVersion, gate), good, "")
			n.unreached = c.after
			r := n.agent(t, newVersion, gate)
			n.look(t, r, next, c.refused)
			found := n.status(t).LookUp
			if found == nil || found.Hash != next.Files.Hash() || len(found.Unreachable) != len(c.after) || len(c.after) > 0 && found.Unreachable[0] != (status.Registry{Address: c.after[0], Reason: "connection refused"}) {
				t.Errorf("gate %s: the status has the look-up %+v, want %q", c.gate, found, c.after)
			}
			if c.refused == "" {
				n.wantServing(t, next)
				return
			}
			n.wantServing(t, good)
			n.look(t, r, good, "") // the applied one does not depend on registries
			n.unreached = nil
			n.look(t, r, next, "") // at the next look
			n.wantServing(t, next)
		})
	}
	n := newTestNode(t)
	n.unreached = []string{"a:5000"}
	n.look(t, n.agent(t, newVersion, func(o *Options) { o.Gate = All }), desired(newVersion, "a"), "registries can't be reached")
	n.unreached = []string{"a:5000", "b:5000"} // a wrong address at the first installation
	n.look(t, n.agent(t, newVersion), desired(newVersion, "a"), "registries can't be reached: a:5000")
	if n.pointed || n.version != "" {
		t.Error("the shim is installed without a registry")
	}
}

// TestGateOfLogins requires that the error for a refused login asks for another login.
func TestGateOfLogins(t *testing.T) {
	wrong := service.RegistryResult{Address: "https://a", Login: true, Err: errors.New("401 Unauthorized")}
	lost := service.RegistryResult{Address: "https://b", Err: errors.New("no such host")}
	for _, c := range []struct {
		gate    Gate
		results []service.RegistryResult
		want    string
	}{
		{WasReachable, []service.RegistryResult{wrong}, "registries refuse the login: https://a: 401 Unauthorized; correct the login, or set registryGate to off (the gate requires one registry at least)"},
		{WasReachable, []service.RegistryResult{wrong, {Address: "https://c", Reachable: true}}, "registries that the former configuration reached refuse the login: https://a: 401 Unauthorized; correct the login, or set registryGate to off (the gate refuses registries that were reachable)"},
		{All, []service.RegistryResult{wrong, lost}, "registries can't be reached: https://b: no such host; correct their addresses, and registries refuse the login: https://a: 401 Unauthorized; correct the login, or set registryGate to off (the gate requires all registries)"},
		{Off, []service.RegistryResult{wrong, lost}, ""},
		{WasReachable, nil, ""},
	} {
		got := ""
		if err := c.gate.check(c.results, []string{"https://a"}); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("gate %s: error is\n%s\nwant\n%s", c.gate, got, c.want)
		}
	}
}

// TestSignal ends the agent at each step. It must change nothing more, and the next agent must
// finish the work.
func TestSignal(t *testing.T) {
	for number := 0; ; number++ {
		more := false
		synctest.Test(t, func(t *testing.T) {
			n, d := newTestNode(t), desired(newVersion, "a")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			count, actions, start := 0, []string{}, time.Now()
			r := n.agent(t, newVersion, func(o *Options) {
				o.Jitter = time.Minute
				o.Step = func(string) {
					if count == number {
						cancel()
						actions, start, more = slices.Clone(n.actions), time.Now(), true
					}
					count++
				}
			})
			feed := make(chan Desired, 1)
			feed <- d
			time.AfterFunc(time.Hour, cancel)
			if err := r.Run(ctx, feed); err != nil {
				t.Errorf("signal at step %d: %v", number, err)
			}
			if !more {
				return
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("signal at step %d: the agent ended after %s", number, took)
			}
			// The fake service does not watch ctx, so that the step in progress may end.
			if len(n.actions) > len(actions)+1 {
				t.Errorf("signal at step %d: actions %q after it", number, n.actions[len(actions):])
			}
			if r.Record.lastFailure() != nil {
				t.Errorf("signal at step %d is recorded as a failure", number)
			}
			n.look(t, n.agent(t, newVersion), d, "")
			n.wantServing(t, d)
		})
		if !more {
			if number < len(applySteps) {
				t.Errorf("only %d steps", number)
			}
			return
		}
	}
}
