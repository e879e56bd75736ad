package rollout

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"image-cri-shim/agent/status"
	"image-cri-shim/config"
	"image-cri-shim/explain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run starts Run, and returns the channel of its result.
func run(ctx context.Context, r *Rollout, feed <-chan Desired) <-chan error {
	result := make(chan error, 1)
	go func() { result <- r.Run(ctx, feed) }()
	return result
}

// TestDrift requires that each change of the node is mended at the next look, and counted.
func TestDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, d := newTestNode(t), desired(newVersion, "a")
		ctx, cancel := context.WithCancel(t.Context())
		feed := make(chan Desired, 1)
		feed <- d
		result := run(ctx, n.agent(t, newVersion), feed)
		n.pass(time.Second)
		n.wantServing(t, d)
		for i, c := range []struct {
			change func()
			found  string
		}{
			{func() { n.pointed, n.connected = false, false }, "/var/lib/kubelet/config.yaml does not point at the shim"},
			{func() { n.files = desired(newVersion, "by hand").Files }, "the configuration was changed"},
			{func() { n.files = nil }, "the configuration on the node is missing or invalid"},
			{func() { n.version = "" }, "the shim is stopped"},
		} {
			c.change()
			n.pass(46 * time.Second)
			n.wantServing(t, d)
			s := n.status(t)
			if !s.Ready || s.Drift == nil || s.Drift.Count != i+1 || !slices.Contains(s.Drift.Found, c.found) || time.Since(s.Drift.Time) > time.Minute {
				t.Errorf("status after %q: ready %t, %+v", c.found, s.Ready, s.Drift)
			}
		}
		n.connected = false // restarted by hand with other files
		n.pass(62 * time.Second)
		if s := n.status(t); s.Ready || !strings.Contains(s.Reason, "kubelet is not connected through the shim") {
			t.Errorf("status without kubelet: %+v", s)
		}
		n.fails["drift"] = errors.New("systemd does not answer")
		n.pass(62 * time.Second)
		if s := n.status(t); s.Ready || !strings.Contains(s.Reason, "systemd does not answer") {
			t.Errorf("status without systemd: %+v", s)
		}
		cancel()
		if err := <-result; err != nil {
			t.Error(err)
		}
		if s := n.agent(t, newVersion).Record.state.Drift; s == nil || s.Count != 4 {
			t.Errorf("drift is not recorded: %+v", s)
		}
	})
}

// TestStart requires that an agent without an object to watch ends with an error if it fails at
// the start, and stays after later failures.
func TestStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNode(t)
		feed := make(chan Desired, 1)
		feed <- desired(newVersion, "invalid")
		if err := n.agent(t, newVersion).Run(t.Context(), feed); err == nil || err.Error() != "check the configuration: image-cri-shim.yaml:3: key registries: invalid" {
			t.Errorf("Run returns %v", err)
		}
		if n.version != "" || n.pointed {
			t.Error("the node was changed")
		}
		ctx, cancel := context.WithCancel(t.Context())
		feed <- desired(newVersion, "a")
		result := run(ctx, n.agent(t, newVersion), feed)
		n.pass(time.Second)
		n.kubeletFails, n.pointed, n.connected = true, false, false
		n.pass(150 * time.Minute)
		if len(result) > 0 {
			t.Errorf("Run returned %v", <-result)
		}
		if s := n.status(t); s.Ready || time.Since(s.Updated) > 2*time.Minute {
			t.Errorf("status: %+v", s)
		}
		wantFewRestarts(t, n.restarts, maxRestarts)
		n.kubeletFails = false
		n.pass(2 * time.Hour)
		n.wantServing(t, desired(newVersion, "a"))
		cancel()
		<-result
	})
}

// TestLive requires that changes are applied within seconds, that the newest wins, and that a
// refused one leaves the last good one.
func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNode(t)
		ctx, cancel := context.WithCancel(t.Context())
		feed := make(chan Desired, 1)
		live := func(o *Options) { o.Live, o.Jitter = true, time.Minute }
		result := run(ctx, n.agent(t, newVersion, live), feed)
		n.pass(time.Minute)
		if s := n.status(t); s.Ready || !strings.Contains(s.Reason, "no configuration has arrived") {
			t.Errorf("status without an object: %+v", s)
		}
		feed <- desired(newVersion, "a")
		n.pass(time.Minute + time.Second) // jitter of the first restart
		n.wantServing(t, desired(newVersion, "a"))

		n.actions = nil
		for _, key := range []string{"b", "c", "d"} {
			feed <- desired(newVersion, key)
			n.pass(time.Millisecond)
		}
		n.pass(time.Minute / changeShare)
		n.wantServing(t, desired(newVersion, "d"))
		if len(n.actions) > 2 {
			t.Errorf("actions for three changes: %q", n.actions)
		}

		for _, refused := range []Desired{desired(newVersion, "invalid"), desired(newVersion, "broken"), {Version: newVersion, Err: errors.New("ConfigMap x/y: the key is missing")}} {
			feed <- refused
			n.pass(10 * time.Minute)
			n.wantServing(t, desired(newVersion, "d"))
			if s := n.status(t); s.Ready || s.Reason == "" || s.Applied.Hash != desired(newVersion, "d").Files.Hash() {
				t.Errorf("status after a refused configuration: %+v", s)
			}
			n.pointed, n.connected = false, false // is mended with the last good one
			n.pass(2 * time.Hour)
			n.wantServing(t, desired(newVersion, "d"))
		}
		feed <- desired(newVersion, "e")
		n.pass(time.Minute/changeShare + time.Second)
		n.wantServing(t, desired(newVersion, "e"))
		if s := n.status(t); !s.Ready {
			t.Errorf("status: %+v", s)
		}
		close(feed)
		cancel()
		if err := <-result; err != nil {
			t.Error(err)
		}

		// The object was deleted, and the pod is started again.
		ctx, cancel = context.WithCancel(t.Context())
		n.version = ""
		result = run(ctx, n.agent(t, newVersion, live), make(chan Desired))
		n.pass(time.Minute)
		n.wantServing(t, desired(newVersion, "e"))
		if s := n.status(t); s.Ready || !strings.Contains(s.Reason, "no configuration has arrived") {
			t.Errorf("status after the deletion: %+v", s)
		}
		cancel()
		<-result
	})
}

// TestRefusedLookUps requires that a configuration that the gate refuses is looked up less often
// with time, and another one at once.
func TestRefusedLookUps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNode(t)
		ctx, cancel := context.WithCancel(t.Context())
		feed := make(chan Desired, 1)
		result := run(ctx, n.agent(t, newVersion, func(o *Options) { o.Live = true }), feed)
		feed <- desired(newVersion, "a")
		n.pass(time.Minute)
		n.unreached, n.lookedUp = []string{"a:5000", "b:5000"}, 0
		feed <- desired(newVersion, "b")
		n.pass(time.Hour)
		if s := n.status(t); n.lookedUp < 10 || n.lookedUp > 20 || s.Ready || !strings.Contains(s.Reason, "registries can't be reached") {
			t.Errorf("%d look-ups in an hour, status %+v", n.lookedUp, s)
		}
		feed <- desired(newVersion, "c")
		n.lookedUp = 0
		n.pass(time.Second)
		if n.lookedUp != 1 {
			t.Errorf("%d look-ups of another configuration", n.lookedUp)
		}
		n.unreached = nil
		n.pass(maxRefusal + time.Minute)
		n.wantServing(t, desired(newVersion, "c"))
		cancel()
		<-result
	})
}

// TestDeletedConfigMap requires that a node without sealos' ConfigMap has the rest of the
// configuration, and that the deletion of the ConfigMap keeps its last content, also for a new
// pod with a new version.
func TestDeletedConfigMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNode(t)
		absent, merged := desired(oldVersion, "base"), desired(oldVersion, "merged")
		absent.Absent, merged.Merged = true, true
		r := n.agent(t, oldVersion)
		n.look(t, r, absent, "")
		n.wantServing(t, absent)
		other := desired(oldVersion, "other base")
		other.Absent = true
		n.look(t, n.agent(t, oldVersion), other, "")
		n.wantServing(t, other)
		n.look(t, r, merged, "")
		for range 2 {
			n.look(t, r, absent, "")
			n.wantServing(t, merged)
		}
		if got := strings.Count(n.log.String(), "sealos' ConfigMap was deleted"); got != 1 {
			t.Errorf("the deletion is logged %d times", got)
		}
		absent.Version, merged.Version = newVersion, newVersion
		n.look(t, n.agent(t, newVersion), absent, "")
		n.wantServing(t, merged)
		base := desired(newVersion, "base") // without the key
		n.look(t, n.agent(t, newVersion), base, "")
		n.look(t, n.agent(t, newVersion), absent, "")
		n.wantServing(t, absent)
	})
}

// TestRestoreFails requires that kubelet uses the runtime if neither the new nor the former
// release serves.
func TestRestoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNode(t)
		n.look(t, n.agent(t, oldVersion), desired(oldVersion, "a"), "")
		n.fails["apply "+oldVersion] = errors.New("no space left")
		n.look(t, n.agent(t, newVersion), desired(newVersion, "broken"), "the shim does not answer")
		if n.pointed || n.connected {
			t.Error("kubelet uses a shim that does not serve")
		}
	})
}

// TestResume requires that a switch that has acted counts as a failed attempt.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, d := newTestNode(t), desired(newVersion, "a")
		if err := n.agent(t, newVersion).Record.save(); err != nil {
			t.Fatal(err)
		}
		n.fails["resume"] = errors.New("the switch has acted")
		n.look(t, n.agent(t, newVersion), d, "the switch has acted")
		delete(n.fails, "resume")
		n.look(t, n.agent(t, newVersion), d, "the switch has acted; next attempt at ")
		n.pass(minBackoff)
		n.look(t, n.agent(t, newVersion), d, "")
	})
}

// TestPackaged requires that the version of a packaged shim need not be the agent's.
func TestPackaged(t *testing.T) {
	n, d := newTestNode(t), desired(newVersion, "a")
	n.packaged = true
	r := n.agent(t, newVersion)
	r.About = func(ctx context.Context, settings *config.Config) (explain.ShimStatus, error) {
		about, err := n.about(ctx, settings)
		about.Version = "v0.9-package"
		return about, err
	}
	n.look(t, r, d, "")
	n.packaged = false
	n.look(t, r, d, "the running shim is version v0.9-package, want v2")
}

// TestAnotherMachine requires that the state of another machine is discarded.
func TestAnotherMachine(t *testing.T) {
	n, d := newTestNode(t), desired(newVersion, "a")
	n.look(t, n.agent(t, newVersion), d, "")
	r := n.agent(t, newVersion)
	folder := filepath.Join(n.folder, "state")
	info, err := os.Stat(filepath.Join(folder, stateName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("state file: %v, %v", info.Mode(), err)
	}
	other, err := OpenRecord(folder, strings.Repeat("f", 32), r.Log)
	if err != nil || other.state.Applied != nil || other.restarts() != 0 {
		t.Errorf("state of another machine: %+v, %v", other.state, err)
	}
	if err := os.WriteFile(filepath.Join(folder, stateName), []byte(`{"machineID": 7`), 0o600); err != nil {
		t.Fatal(err)
	}
	if broken, err := OpenRecord(folder, machineID, r.Log); err != nil || broken.state.Applied != nil {
		t.Errorf("damaged state: %+v, %v", broken, err)
	}
}

// TestDamagedRecord requires that a state that can't be read does not permit more restarts of
// kubelet, and that a node that needs none is ready at once.
func TestDamagedRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, d := newTestNode(t), desired(newVersion, "a")
		n.look(t, n.agent(t, newVersion), d, "")
		damage := func() {
			if err := os.WriteFile(filepath.Join(n.folder, "state", stateName), []byte(`{"machineID": 7`), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		damage()
		n.look(t, n.agent(t, newVersion), d, "")
		time.Sleep(2 * restartsWindow)
		damage()
		n.pointed, n.connected = false, false
		n.look(t, n.agent(t, newVersion), d, "restarted kubelet 3 times within an hour")
		time.Sleep(restartsWindow - time.Minute)
		n.look(t, n.agent(t, newVersion), d, "restarted kubelet 3 times within an hour")
		time.Sleep(time.Minute)
		n.look(t, n.agent(t, newVersion), d, "")
		n.wantServing(t, d)
	})
}

// TestClock sets the clock back by a year and forward by an hour.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, d := newTestNode(t), desired(newVersion, "a")
		r := n.agent(t, newVersion)
		future := time.Now().AddDate(1, 0, 0)
		r.Record.state.Restarts = []time.Time{future, future, future}
		r.Record.state.Failures = []status.Failure{{Hash: d.Files.Hash(), Version: d.Version, Step: "s", Reason: "r", Time: future, Next: future.Add(5 * time.Minute), Attempts: 1}}
		if err := r.Record.save(); err != nil {
			t.Fatal(err)
		}
		n.look(t, n.agent(t, newVersion), d, "next attempt at ")
		_ = r.Record.held(d.release())
		if err := r.Record.save(); err != nil {
			t.Fatal(err)
		}
		n.pass(5 * time.Minute)
		n.look(t, n.agent(t, newVersion), d, "restarted kubelet 3 times within an hour")
		n.pass(56 * time.Minute)
		n.look(t, n.agent(t, newVersion), d, "")
	})
}

// TestUncheckedConfiguration requires that an applied configuration that can't be checked any more
// is the reason of a node that is not ready.
func TestUncheckedConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, d := newTestNode(t), desired(newVersion, "a")
		r := n.agent(t, newVersion)
		n.look(t, r, d, "")
		n.version = "" // the shim can't start again
		n.fails["check"] = errors.New("ca: no such file")
		n.look(t, r, d, "check the configuration: ca: no such file")
		delete(n.fails, "check")
		n.look(t, r, d, "")
		n.wantServing(t, d)
	})
}
