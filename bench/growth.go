package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// growth is what a fresh process is like in the course of many calls.
type growth struct {
	Calls    int       `json:"calls"`
	P50      []float64 `json:"p50Microseconds"`       // of each tenth of the calls
	Direct   []float64 `json:"directP50Microseconds"` // after each tenth, without the contender
	Resident []float64 `json:"residentMiB"`           // after each tenth
	// Of the second half to the first, which is without the first tenth. The
	// time is that in relation to the direct way.
	Time   float64 `json:"timeRatio"`
	Memory float64 `json:"memoryRatio"`
}

// measureEndurance looks at what the shim must not do in the long run, and at
// the relay to compare with: each time at a fresh process.
func (b *bench) measureEndurance(ctx context.Context) error {
	for _, c := range b.contenders {
		if c.missing != "" || !strings.HasPrefix(c.name, "shim") && c.name != "relay" {
			continue
		}
		for _, measure := range []func(context.Context, *contender) error{b.measurePassing, b.measureCrowd, b.measureGrowth} {
			if err := measure(ctx, c); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

// fresh gives a new process of a contender to use, and ends it.
func (b *bench) fresh(ctx context.Context, c *contender, use func(*instance) error) error {
	i, err := c.start(ctx, b.folderOf(c, "fresh"), b.socket, c.command)
	if err != nil {
		return err
	}
	defer i.stop()
	return use(i)
}

// measureGrowth makes many calls of Version, 32 at once, and looks at each tenth.
func (b *bench) measureGrowth(ctx context.Context, c *contender) error {
	const parts, workers = 10, 32
	g := &growth{}
	direct := b.instances[b.contenders[0]]
	var relative []float64
	err := b.fresh(ctx, c, func(i *instance) error {
		for range parts {
			each := b.size.calls / parts / workers
			l, err := drive(ctx, i.clients, []step{versionStep}, workers, func(made int, _ time.Duration) bool { return made < each })
			if err != nil {
				return err
			}
			resident, _, err := i.process.memory()
			if err != nil {
				return err
			}
			compared, err := closedLoop(ctx, direct.clients, []step{versionStep}, workers, 2*b.size.slice)
			if err != nil {
				return err
			}
			p50, directP50 := microseconds(percentile(l.latencies, 50)), microseconds(percentile(compared.latencies, 50))
			g.Calls += len(l.latencies)
			g.P50, g.Direct, relative = append(g.P50, p50), append(g.Direct, directP50), append(relative, p50/directP50)
			g.Resident = append(g.Resident, mebibytes(resident))
		}
		return nil
	})
	g.Time, g.Memory = halves(relative), halves(g.Resident)
	b.figures[c].Calls = g
	return err
}

// halves is the median of the second half of the values to that of the first,
// where the first value is left out: then a process warms up.
func halves(values []float64) float64 {
	middle := len(values) / 2
	return spreadOf(values[middle:]).Median / spreadOf(values[1:middle]).Median
}
