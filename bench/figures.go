package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"image-cri-shim/bench/allocations"
)

// figures are the measurements of a contender's program and process.
type figures struct {
	Contender string
	Foreign   bool    // see [contender.foreign]
	Missing   string  // why it was not started
	Binary    float64 // MB of 1,000,000 bytes
	Start     spread  // ms, to the first answered call
	Idle      spread  // MiB, after one call and a rest of settle
	// Allocated is the memory that one call allocates in the contender, by workload.
	Allocated     map[string]allocated
	LargeMessages map[string]spread // MiB, by size of the message
	LongRun       *longRun
	Connections   *connectionCost
}

type allocated struct {
	Objects spread
	Bytes   spread
}

// settle is the time after which the memory of an idle process is read.
const settle = 200 * time.Millisecond

// measureStart starts and ends each contender several times, in turn.
func (b *bench) measureStart(ctx context.Context) error {
	start, idle := map[*contender][]float64{}, map[*contender][]float64{}
	for range b.size.starts {
		for _, c := range b.contenders {
			if c.command == nil || c.missing != "" {
				continue
			}
			i, err := c.start(ctx, b.folderOf(c, "start"), b.runtimeSocket(c), c.command)
			if err != nil && c.foreign() && ctx.Err() == nil {
				c.missing = b.withoutFolder(err)
				continue
			}
			if err != nil {
				return err
			}
			ready := i.ready
			i.disconnect()
			time.Sleep(settle)
			resident, _, err := i.process.memory()
			i.stop()
			if err != nil {
				return err
			}
			start[c] = append(start[c], float64(ready)/float64(time.Millisecond))
			idle[c] = append(idle[c], mebibytes(resident))
		}
	}
	for _, c := range b.contenders {
		f := &figures{Contender: c.name, Foreign: c.foreign(), Missing: c.missing, Start: spreadOf(start[c]), Idle: spreadOf(idle[c])}
		if c.binary != "" {
			info, err := os.Stat(c.binary)
			if err != nil {
				return fmt.Errorf("size of %s: %w", c.name, err)
			}
			f.Binary = float64(info.Size()) / 1e6
		}
		b.figures[c] = f
	}
	return nil
}

// measureAllocations measures the allocations of calls, one at a time, in processes of the
// instrumented contenders.
func (b *bench) measureAllocations(ctx context.Context) error {
	for _, c := range b.contenders {
		if c.instrumented == nil || c.missing != "" {
			continue
		}
		if err := b.countAllocations(ctx, c); err != nil {
			return fmt.Errorf("allocations of %s: %w", c.name, err)
		}
	}
	return nil
}

func (b *bench) countAllocations(ctx context.Context, c *contender) error {
	folder := b.folderOf(c, "allocations")
	socket := filepath.Join(folder, "allocations.sock")
	i, err := c.start(ctx, folder, b.runtimeSocket(c), c.instrumented, allocations.Variable+"="+socket)
	if err != nil {
		return err
	}
	defer i.stop()
	if err := b.pullServed(ctx, i); err != nil {
		return err
	}
	b.figures[c].Allocated = map[string]allocated{}
	for _, t := range b.tables {
		if t.Workers > 1 || t.Rate > 0 || t.of(c.name).Failed != "" {
			continue
		}
		steps := t.steps(b.registry.host, c.restores)
		var objects, bytes []float64
		// The first pass warms up caches and pools and is not counted.
		for pass := range 1 + b.size.passes {
			before, err := allocations.Read(socket)
			if err != nil {
				return err
			}
			const atMost = 500
			l, err := drive(ctx, i.clients, steps, 1, func(made int, elapsed time.Duration) bool { return made < atMost && elapsed < b.size.sampleTime })
			if err != nil {
				return err
			}
			after, err := allocations.Read(socket)
			if err != nil {
				return err
			}
			if pass > 0 {
				calls := float64(len(l.latencies))
				objects = append(objects, float64(after.Objects-before.Objects)/calls)
				bytes = append(bytes, float64(after.Bytes-before.Bytes)/calls)
			}
		}
		b.figures[c].Allocated[t.Name] = allocated{Objects: spreadOf(objects), Bytes: spreadOf(bytes)}
	}
	return nil
}
