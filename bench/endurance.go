package main

import (
	"context"
	"fmt"
	"time"
)

// longRun holds the changes of a process over many calls.
type longRun struct {
	Calls    int
	P50      []float64 // µs, of each part of the calls
	Resident []float64 // MiB, after each part
	Time     spread    // p50 after all calls, divided by that of a process after a twentieth of them
	Memory   float64   // see secondHalfRatio
}

// measureEndurance measures the cost of large messages, many connections and many calls,
// each in new processes. The relay is measured for comparison, except for many calls.
func (b *bench) measureEndurance(ctx context.Context) error {
	for _, c := range b.contenders {
		if c.missing != "" || !c.restores && c.name != "relay" {
			continue
		}
		measures := []func(context.Context, *contender) error{b.measureLargeMessages, b.measureConnections}
		if c.restores {
			measures = append(measures, b.measureLongRun)
		}
		for _, measure := range measures {
			if err := measure(ctx, c); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

// withInstance calls use with a new process of a contender, and then ends the process.
func (b *bench) withInstance(ctx context.Context, c *contender, purpose string, use func(*instance) error) error {
	i, err := c.start(ctx, b.folderOf(c, purpose), b.runtimeSocket(c), c.command)
	if err != nil {
		return err
	}
	defer i.stop()
	return use(i)
}

// measureLongRun makes many calls of Version, 32 at once, and compares the process after
// them to a process that has only warmed up.
func (b *bench) measureLongRun(ctx context.Context, c *contender) error {
	g := &longRun{}
	b.figures[c].LongRun = g
	return b.withInstance(ctx, c, "old", func(old *instance) error {
		if err := g.run(ctx, old, b.size.calls); err != nil {
			return err
		}
		return b.withInstance(ctx, c, "new", func(fresh *instance) (err error) {
			// Without this warm-up the new process would be slower and hide growth in the old one.
			if err := (&longRun{}).run(ctx, fresh, b.size.calls/20); err != nil {
				return err
			}
			g.Time, err = b.compareP50(ctx, old, fresh, 32)
			return err
		})
	})
}

// run makes the calls in ten parts and records the figures after each part.
func (g *longRun) run(ctx context.Context, i *instance, calls int) error {
	const parts, workers = 10, 32
	each := (calls + parts*workers - 1) / (parts * workers)
	for range parts {
		l, err := drive(ctx, i.clients, []step{versionStep}, workers, func(made int, _ time.Duration) bool { return made < each })
		if err != nil {
			return err
		}
		resident, _, err := i.process.memory()
		if err != nil {
			return err
		}
		g.Calls += len(l.latencies)
		g.P50, g.Resident = append(g.P50, microseconds(percentile(l.latencies, 50))), append(g.Resident, mebibytes(resident))
	}
	g.Memory = secondHalfRatio(g.Resident)
	return nil
}

// secondHalfRatio returns the median of the second half of the values divided by that of
// the first half. It leaves out the first value, which includes the warm-up.
func secondHalfRatio(values []float64) float64 {
	middle := len(values) / 2
	return spreadOf(values[middle:]).Median / spreadOf(values[1:middle]).Median
}

// compareP50 returns the p50 of Version in one process divided by that in another,
// measured in alternating short turns.
func (b *bench) compareP50(ctx context.Context, one, other *instance, workers int) (spread, error) {
	var ratios []float64
	for range 5 * b.size.passes {
		var p50 [2]float64
		for n, i := range []*instance{other, one} {
			l, err := closedLoop(ctx, i.clients, []step{versionStep}, workers, b.size.sampleTime)
			if err != nil {
				return spread{}, err
			}
			p50[n] = microseconds(percentile(l.latencies, 50))
		}
		ratios = append(ratios, p50[1]/p50[0])
	}
	return spreadOf(ratios), nil
}
