package rollout

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"image-cri-shim/agent/service"
)

// TestDoctor requires that the status shows the doctor's failures while they last, that each is
// logged once with its hint, and that neither they nor a doctor that hangs make the node unready.
func TestDoctor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, d := newTestNode(t), desired(newVersion, "a")
		n.failures = []service.Finding{{Check: "runtime's trust", Subject: "https://hub", Text: "unknown authority", Hint: "write hosts.toml"}}
		ctx, cancel := context.WithCancel(t.Context())
		feed := make(chan Desired, 1)
		feed <- d
		result := run(ctx, n.agent(t, newVersion, func(o *Options) { o.Live = true }), feed)
		want := func(logged string, times int, doctor ...string) {
			t.Helper()
			s := n.status(t)
			if !s.Ready || s.Reason != "" || !slices.Equal(s.Doctor, doctor) {
				t.Errorf("ready %t, reason %q, doctor %q, want %q", s.Ready, s.Reason, s.Doctor, doctor)
			}
			if got := strings.Count(n.log.String(), logged); got != times {
				t.Errorf("%q is logged %d times, want %d", logged, got, times)
			}
		}
		const trust = "runtime's trust https://hub: unknown authority"
		n.pass(time.Second) // the first installation
		want("unknown authority\" hint=\"write hosts.toml\"", 1, trust)
		n.pass(examineInterval / 2)
		if n.examined != 1 {
			t.Errorf("the doctor has run %d times", n.examined)
		}
		n.pass(examineInterval)
		want("unknown authority", 1, trust)
		n.failures = nil
		n.pass(examineInterval * 3 / 2)
		want("unknown authority", 1)

		n.fails["doctor"] = errors.New("permission denied")
		n.pass(3 * examineInterval)
		want("permission denied", 1, "the node was not examined: permission denied")
		delete(n.fails, "doctor")

		n.hangs, n.examined = true, 0
		feed <- desired(newVersion, "b") // a new release is examined at once
		n.pass(time.Second)
		if s := n.status(t); !s.Ready || s.Applied.Hash != desired(newVersion, "b").Files.Hash() || n.examined != 1 {
			t.Errorf("status while the doctor hangs: %+v; it has run %d times", s, n.examined)
		}
		n.pass(31 * time.Second)
		want("deadline exceeded", 1, "the node was not examined: run image-cri-shim doctor: context deadline exceeded")
		n.pass(examineInterval * 3 / 2) // hangs again
		cancel()
		if err := <-result; err != nil {
			t.Error(err)
		}

		// The pod is started again.
		n.hangs, n.examined = false, 0
		ctx, cancel = context.WithCancel(t.Context())
		feed <- desired(newVersion, "b")
		result = run(ctx, n.agent(t, newVersion), feed)
		n.pass(time.Second)
		want("permission denied", 1)
		if n.examined != 1 {
			t.Errorf("the doctor has run %d times", n.examined)
		}
		cancel()
		<-result
	})
}

// TestDoctorWithoutARelease requires that a node without an applied release of this version is
// not examined, so that a failing agent ends at once.
func TestDoctorWithoutARelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNode(t)
		feed := make(chan Desired, 1)
		feed <- desired(newVersion, "invalid")
		if err := n.agent(t, newVersion).Run(t.Context(), feed); err == nil || n.examined != 0 {
			t.Errorf("Run returns %v, and the doctor has run %d times", err, n.examined)
		}
		n.look(t, n.agent(t, oldVersion), desired(oldVersion, "a"), "")
		ctx, cancel := context.WithCancel(t.Context())
		feed <- desired(newVersion, "invalid")
		result := run(ctx, n.agent(t, newVersion, func(o *Options) { o.Live = true }), feed)
		n.pass(time.Hour)
		cancel()
		if err := <-result; err != nil || n.examined != 0 {
			t.Errorf("Run returns %v, and the doctor has run %d times", err, n.examined)
		}
	})
}

// TestExaminationsAreSpread requires that the doctors of nodes that apply a release or start at
// the same time run at different times, and stay spread.
func TestExaminationsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const nodes, jitter = 60, 5 * time.Minute
		ctx, cancel := context.WithCancel(t.Context())
		var results []<-chan error
		var all []*testNode
		var feeds []chan Desired
		for range nodes {
			n, feed := newTestNode(t), make(chan Desired, 1)
			n.look(t, n.agent(t, newVersion), desired(newVersion, "a"), "") // without a jitter for kubelet
			feed <- desired(newVersion, "a")
			results = append(results, run(ctx, n.agent(t, newVersion, func(o *Options) { o.Live, o.Jitter = true, jitter }), feed))
			all, feeds = append(all, n), append(feeds, feed)
		}
		examined := func() (sum int) {
			synctest.Wait()
			for _, n := range all {
				sum += n.examined
				n.changes.Add(1) // orders this before the next examination
			}
			return sum
		}
		// want requires each node to be examined so many times in the next minutes, and not too
		// many nodes in one minute.
		want := func(minutes, least, most int) {
			t.Helper()
			before, busiest := examined(), 0
			for range minutes {
				last := examined()
				time.Sleep(time.Minute)
				busiest = max(busiest, examined()-last)
			}
			if total := examined() - before; total < least*nodes || total > most*nodes || busiest > nodes/2 {
				t.Errorf("%d examinations of %d nodes in %d minutes, %d in one of them", total, nodes, minutes, busiest)
			}
		}
		want(5, 1, 1)
		want(26, 2, 3)
		for _, feed := range feeds {
			feed <- desired(newVersion, "b")
		}
		want(6, 1, 2)
		cancel()
		for _, result := range results {
			if err := <-result; err != nil {
				t.Error(err)
			}
		}
	})
}
