package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"image-cri-shim/e2e/testbed"
)

// lookupTimeout is the shim's default, which all measurements use.
const lookupTimeout = 3 * time.Second

// measureOutage pulls while no registry answers. The first pull waits for the lookups;
// the others don't.
func measureOutage(ctx context.Context, n *node, row report) error {
	const pulls = 50
	if err := n.fill(ctx, n.original, pulls); err != nil {
		return err
	}
	unresponsive := []*testbed.FaultyRegistry{n.registry(testbed.Hang), n.registry(testbed.Hang), n.registry(testbed.Hang)}
	if err := n.start(ctx, unresponsive, ""); err != nil {
		return err
	}
	direct, err := testbed.Dial(ctx, n.runtime.Socket())
	if err != nil {
		return err
	}
	defer func() { _ = direct.Close() }()
	var plain, later []time.Duration
	first, err := timed(func() error { return pull(ctx, n.through, name(0)) })
	for i := 1; i < pulls && err == nil; i++ {
		var took time.Duration
		if took, err = timed(func() error { return pull(ctx, n.through, name(i)) }); err == nil {
			later = append(later, took)
			took, err = timed(func() error { return pull(ctx, direct, name(i)) })
			plain = append(plain, took)
		}
	}
	if err != nil {
		return err
	}
	row("first pull, 3 registries unresponsive", round(first), fmt.Sprintf("lookupTimeout %v plus a tenth", lookupTimeout))
	row("later pulls, circuits open", spread(later), "without delay")
	row("the same pulls without the shim", spread(plain), "")
	return nil
}

// measureReturn ends an outage of many registries, one after the other. The outage is
// long enough for the backoff between two probes to grow.
func measureReturn(ctx context.Context, n *node, row report) error {
	const count, down, apart = 20, 15 * time.Second, 700 * time.Millisecond
	back, registries := make([]chan struct{}, count), make([]*testbed.FaultyRegistry, count)
	for i := range back {
		back[i] = make(chan struct{})
		registries[i] = n.registry(testbed.HangUntil(back[i]))
	}
	if err := n.fill(ctx, n.original, 1); err != nil {
		return err
	}
	if err := n.start(ctx, registries, ""); err != nil {
		return err
	}
	if err := pull(ctx, n.through, name(0)); err != nil {
		return err
	}
	if err := sleep(ctx, down); err != nil {
		return err
	}
	results := make(chan time.Duration, count)
	for i := range back {
		returned := time.Now()
		close(back[i])
		go func() { results <- n.awaitReturn(ctx, registries[i].Address(), returned) }()
		if err := sleep(ctx, apart); err != nil {
			return err
		}
	}
	var took []time.Duration
	for range count {
		took = append(took, <-results)
	}
	row(fmt.Sprintf("time from a registry's return to its closed circuit, %d registries, %v down", count, down), spread(took), "10s")
	return ctx.Err()
}

// awaitReturn waits until the shim logs that a registry is back, and returns the time
// since its return.
func (n *node) awaitReturn(ctx context.Context, address string, since time.Time) time.Duration {
	for {
		log, _ := os.ReadFile(n.shim.Log())
		for line := range strings.Lines(string(log)) {
			if strings.Contains(line, `msg="registry is back"`) && strings.Contains(line, `"`+address+`"`) {
				return time.Since(since)
			}
		}
		if sleep(ctx, 20*time.Millisecond) != nil {
			return time.Since(since)
		}
	}
}

func sleep(ctx context.Context, pause time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pause):
		return nil
	}
}

func timed(do func() error) (time.Duration, error) {
	started := time.Now()
	err := do()
	return time.Since(started), err
}

func round(d time.Duration) string {
	if d > time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}

// spread formats the minimum, median and maximum of durations, which it sorts.
func spread(durations []time.Duration) string {
	slices.Sort(durations)
	last := len(durations) - 1
	return fmt.Sprintf("%s / %s / %s (min/median/max)", round(durations[0]), round(durations[last/2]), round(durations[last]))
}
