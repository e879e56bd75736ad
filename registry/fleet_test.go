package registry_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fleetSize returns the number of nodes of the simulation: FLEET_NODES, or few enough for a test
// of a few seconds. `make load` prints the figures of 10,000 for docs/fleet.md.
func fleetSize() int {
	if size, err := strconv.Atoi(os.Getenv("FLEET_NODES")); err == nil {
		return size
	}
	return 40
}

// fleet is a simulation of many nodes in virtual time. Each node has a Set of its own. The
// registry and its token server count the requests.
type fleet struct {
	*testing.T
	registry *fleetRegistry
	nodes    []*fleetNode
	running  sync.WaitGroup
}

// simulate runs a scenario with a fleet that is idle.
func simulate(t *testing.T, name string, scenario func(ctx context.Context, f *fleet)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := &fleet{T: t, registry: newFleetRegistry(fleetSize())}
			for i := range f.registry.nodes {
				f.nodes = append(f.nodes, newFleetNode(t, i, f.registry))
			}
			ctx, cancel := context.WithCancel(t.Context())
			scenario(ctx, f)
			cancel()
			f.running.Wait()
			for _, n := range f.nodes {
				n.close()
			}
		})
	})
}

// all runs an action on each node. The actions end with ctx.
func (f *fleet) all(action func(n *fleetNode)) {
	for _, n := range f.nodes {
		f.running.Go(func() { action(n) })
	}
}

// every repeats an action until ctx is done, first after a delay.
func (f *fleet) every(ctx context.Context, first, interval time.Duration, action func(i int)) {
	f.running.Go(func() {
		for i, delay := 0, first; wait(ctx, delay); i, delay = i+1, interval {
			action(i)
		}
	})
}

// report prints the load since the last reset, and begins a new measurement.
func (f *fleet) report(period string) measured {
	m := f.registry.measure()
	f.Logf("%d nodes, %s: %v", len(f.nodes), period, m)
	f.registry.reset()
	return m
}

// live begins the pulls of usual nodes. A container with imagePullPolicy Always crashes and is
// restarted every 5 minutes. A CronJob with Always starts a pod on every node every 5 minutes; the
// scheduler takes 30 s for 10,000 pods. A new image arrives every 10 minutes. The agents run the
// doctor.
func (f *fleet) live(ctx context.Context) {
	for _, n := range f.nodes {
		f.every(ctx, rand.N(5*time.Minute), 5*time.Minute, func(int) { n.pull(ctx, n.images[0]) })
		f.every(ctx, time.Minute+rand.N(30*time.Second), 5*time.Minute, func(int) { n.pull(ctx, n.images[1]) })
		f.every(ctx, rand.N(10*time.Minute), 10*time.Minute, func(i int) { n.pull(ctx, parse(f.T, fmt.Sprintf("docker.io/team/new:%d", i))) })
		f.every(ctx, rand.N(10*time.Minute), 10*time.Minute, func(int) { n.examine(ctx) })
	}
}

// TestFleet measures the load of the registry in the scenarios of docs/fleet.md.
func TestFleet(t *testing.T) {
	simulate(t, "steady state", func(ctx context.Context, f *fleet) {
		f.live(ctx)
		time.Sleep(10 * time.Minute)
		f.registry.reset()
		time.Sleep(10 * time.Minute)
		if m := f.report("10 minutes"); m.perNode > 1 || m.busiest > 1 {
			f.Error("more than one look-up for each node and minute")
		}
		for _, n := range f.nodes {
			n.reload() // cached answers and tokens are lost
		}
		if time.Sleep(5 * time.Minute); f.report("5 minutes after all shims have reloaded").perNode > 1 {
			f.Error("more than one look-up for each node and minute after a reload")
		}
	})
	for _, jitter := range []time.Duration{time.Minute, 10 * time.Minute} {
		simulate(t, fmt.Sprintf("live reload, jitter %v", jitter), func(ctx context.Context, f *fleet) {
			f.all(func(n *fleetNode) { n.apply(ctx, jitter/10, jitter) })
			time.Sleep(jitter + time.Minute)
			m := f.report("all nodes")
			// 4 requests of the look-up in a tenth of the time, and 14 of the doctor.
			f.wantPeak(m, 54*len(f.nodes)/int(jitter.Seconds())*3/2)
		})
	}
	simulate(t, "rolling reload", func(ctx context.Context, f *fleet) {
		for i, n := range f.nodes { // maxUnavailable: 10%
			f.running.Go(func() {
				if wait(ctx, time.Duration(i*10/len(f.nodes))*35*time.Second) {
					n.apply(ctx, 10*time.Second, time.Minute) // the pods start within 10 s
				}
			})
		}
		time.Sleep(8 * time.Minute)
		f.wantPeak(f.report("10 % of the nodes each 35 s"), len(f.nodes)/5)
	})
	simulate(t, "rolling update of a DaemonSet", func(ctx context.Context, f *fleet) {
		for i, n := range f.nodes {
			f.running.Go(func() {
				if wait(ctx, time.Duration(i*10/len(f.nodes))*35*time.Second+rand.N(5*time.Second)) {
					n.pull(ctx, parse(t, "docker.io/team/new:1"))
				}
			})
		}
		time.Sleep(6 * time.Minute)
		f.report("10 % of the nodes each 35 s")
	})
	simulate(t, "power cut", func(ctx context.Context, f *fleet) {
		f.all(func(n *fleetNode) { n.boot(ctx, 30*time.Second) })
		time.Sleep(2 * time.Minute)
		f.wantPeak(f.report("all nodes boot within 30 s"), 2*len(f.nodes))
	})
	simulate(t, "outage", func(ctx context.Context, f *fleet) {
		f.live(ctx)
		time.Sleep(10 * time.Minute)
		f.registry.setDown(true)
		time.Sleep(20 * time.Minute)
		f.registry.reset()
		time.Sleep(10 * time.Minute)
		if m := f.report("10 minutes of an outage"); m.requests() > 2*10*len(f.nodes) {
			f.Error("more than two requests for each node and minute")
		}
		f.registry.setDown(false)
		time.Sleep(2 * time.Minute)
		f.wantPeak(f.report("2 minutes after the return"), len(f.nodes))
		for _, n := range f.nodes {
			if n.shim.Conditions()[0].Down {
				f.Fatal("a circuit is still open")
			}
		}
	})
	simulate(t, "expiry", func(ctx context.Context, f *fleet) {
		f.all(func(n *fleetNode) { n.pull(ctx, n.images[0]) })
		f.running.Wait()
		f.registry.reset()
		time.Sleep(10 * time.Minute)
		if m := f.report("all answers expire"); m.requests() > 0 {
			f.Error("requests without a pull")
		}
	})
}

// wantPeak requires that no second has more requests than limit.
func (f *fleet) wantPeak(m measured, limit int) {
	f.Helper()
	if limit += 50; m.peak > limit { // a small fleet varies more
		f.Errorf("%d requests in a second, want at most %d", m.peak, limit)
	}
}

// apply applies a changed configuration as the agent does: it waits, looks up the registries,
// lets the shim reload, and later runs the doctor.
func (n *fleetNode) apply(ctx context.Context, spread, jitter time.Duration) {
	if !wait(ctx, rand.N(spread)) {
		return
	}
	n.gate(ctx)
	n.reload()
	if wait(ctx, rand.N(jitter)) {
		n.examine(ctx)
	}
}

// boot pulls the images of the containers with imagePullPolicy Always, as kubelet does after the
// start of a node. The agent runs the doctor.
func (n *fleetNode) boot(ctx context.Context, spread time.Duration) {
	if !wait(ctx, rand.N(spread)) {
		return
	}
	var pulls sync.WaitGroup
	for _, image := range n.images[:alwaysPulled] {
		pulls.Go(func() { n.pull(ctx, image) })
	}
	if wait(ctx, rand.N(time.Minute)) {
		n.examine(ctx)
	}
	pulls.Wait()
}
