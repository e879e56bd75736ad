package main

import (
	"context"
	"fmt"
	"time"
)

// growth is what a fresh process is like in the course of many calls.
type growth struct {
	Calls    int       `json:"calls"`
	P50      []float64 `json:"p50Microseconds"`       // of each part of the calls
	Direct   []float64 `json:"directP50Microseconds"` // after each part, without the contender
	Resident []float64 `json:"residentMiB"`           // after each part
	// Of the second half to the first, which is without the first tenth. The
	// time is that in relation to the direct way.
	Time   float64 `json:"timeRatio"`
	Memory float64 `json:"memoryRatio"`
}

// measureEndurance looks at what the shim must not do in the long run, each time
// at a fresh process, and at the relay where there is something to compare.
func (b *bench) measureEndurance(ctx context.Context) error {
	for _, c := range b.contenders {
		if c.missing != "" || !c.restores && c.name != "relay" {
			continue
		}
		measures := []func(context.Context, *contender) error{b.measurePassing, b.measureCrowd}
		if c.restores {
			measures = append(measures, b.measureGrowth)
		}
		for _, measure := range measures {
			if err := measure(ctx, c); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

// fresh gives a new process of a contender to use, and ends it.
func (b *bench) fresh(ctx context.Context, c *contender, purpose string, use func(*instance) error) error {
	i, err := c.start(ctx, b.folderOf(c, purpose), b.socket, c.command)
	if err != nil {
		return err
	}
	defer i.stop()
	return use(i)
}

// measureGrowth makes many calls of Version, 32 at once, in parts, and looks at
// the direct way after each.
func (b *bench) measureGrowth(ctx context.Context, c *contender) error {
	const parts, workers = 40, 32
	g := &growth{}
	direct := b.instances[b.contenders[0]]
	var relative []float64
	each := (b.size.calls + parts*workers - 1) / (parts * workers)
	err := b.fresh(ctx, c, "calls", func(i *instance) error {
		for range parts {
			l, err := drive(ctx, i.clients, []step{versionStep}, workers, func(made int, _ time.Duration) bool { return made < each })
			if err != nil {
				return err
			}
			resident, _, err := i.process.memory()
			if err != nil {
				return err
			}
			compared, err := closedLoop(ctx, direct.clients, []step{versionStep}, workers, b.size.slice)
			if err != nil {
				return err
			}
			p50, directP50 := microseconds(percentile(l.latencies, 50)), microseconds(percentile(compared.latencies, 50))
			g.Calls += len(l.latencies)
			g.P50, g.Direct, g.Resident = append(g.P50, p50), append(g.Direct, directP50), append(g.Resident, mebibytes(resident))
			relative = append(relative, p50/directP50)
		}
		return nil
	})
	g.Time, g.Memory = halves(relative), halves(g.Resident)
	b.figures[c].Calls = g
	return err
}

// halves is the median of the second half of the values to that of the first,
// where the first tenth is left out: then a process warms up.
func halves(values []float64) float64 {
	middle := len(values) / 2
	return spreadOf(values[middle:]).Median / spreadOf(values[len(values)/10:middle]).Median
}

// tenths are the medians of the first tenth of the values, of the second, and so
// on.
func tenths(values []float64) []float64 {
	var all []float64
	for n := range 10 {
		all = append(all, spreadOf(values[n*len(values)/10:(n+1)*len(values)/10]).Median)
	}
	return all
}
