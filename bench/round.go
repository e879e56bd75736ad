package main

import (
	"context"
	"fmt"
	"regexp"
	"time"
)

// sample is the result of one contender for one workload in one round.
type sample struct {
	Round     int
	Calls     int
	P50       float64 // µs
	P90       float64 // µs
	P99       float64 // µs
	PerSecond float64 // messages: one per unary call, one per event of a stream
	CPU       float64 // s per 10,000 calls
	Peak      float64 // MiB
}

// outcome is the result of one contender for one workload in all rounds.
type outcome struct {
	Contender   string
	Failed      string // why it was not tried again in later rounds
	Samples     []sample
	OpaqueRatio spread // p50 divided by that of the opaque call, if the workload has one
}

// table holds one workload's outcomes, in the order of the contenders.
type table struct {
	workload
	Outcomes []*outcome
}

func newTables(contenders []*contender, only *regexp.Regexp) []*table {
	var tables []*table
	for _, w := range workloads {
		if !only.MatchString(w.Name) {
			continue
		}
		t := &table{workload: w}
		for _, c := range contenders {
			o := &outcome{Contender: c.name}
			if c.missing != "" {
				o.Failed = c.missing
			}
			t.Outcomes = append(t.Outcomes, o)
		}
		tables = append(tables, t)
	}
	return tables
}

// of returns a contender's outcome.
func (t *table) of(contender string) *outcome {
	for _, o := range t.Outcomes {
		if o.Contender == contender {
			return o
		}
	}
	return &outcome{Contender: contender, Failed: "not a contender"}
}

// runRound measures each workload on all contenders in turn. The first contender changes
// each time.
func (b *bench) runRound(ctx context.Context, round int) error {
	for n, t := range b.tables {
		for turn := range b.contenders {
			k := (turn + round + n) % len(b.contenders)
			instance, result := b.instances[b.contenders[k]], t.Outcomes[k]
			if instance == nil || result.Failed != "" {
				continue
			}
			s, err := b.measure(ctx, instance, t.workload)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				result.Failed = b.withoutFolder(err)
				b.log("%s: %s failed: %s", t.Name, result.Contender, result.Failed)
				if err := b.reconnect(ctx, instance, t.Name); err != nil {
					return err
				}
				continue
			}
			s.Round = round
			result.Samples = append(result.Samples, s)
		}
	}
	return nil
}

// reconnect connects again to a contender that has failed a workload. A foreign contender
// that no longer answers is excluded from the rest of the run.
func (b *bench) reconnect(ctx context.Context, i *instance, after string) error {
	err := i.connect(ctx)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s no longer answers after %s: %w", i.contender.name, after, err)
	if !i.contender.foreign() || ctx.Err() != nil {
		return err
	}
	i.stop()
	delete(b.instances, i.contender)
	for _, t := range b.tables {
		if o := t.of(i.contender.name); o.Failed == "" {
			o.Failed = b.withoutFolder(err)
		}
	}
	return nil
}

// measure makes the calls of one sample, after some warm-up calls.
func (b *bench) measure(ctx context.Context, i *instance, w workload) (sample, error) {
	duration := time.Duration(w.share) * b.size.sampleTime
	steps := w.steps(b.registry.host, i.contender.restores)
	if _, err := closedLoop(ctx, i.clients, steps, w.Workers, duration/8); err != nil {
		return sample{}, err
	}
	cpuBefore, err := i.startUsage()
	if err != nil {
		return sample{}, err
	}
	var l load
	if w.Rate > 0 {
		l, err = openLoop(ctx, i.clients, steps, w.Rate, duration)
	} else {
		l, err = closedLoop(ctx, i.clients, steps, w.Workers, duration)
	}
	if err != nil {
		return sample{}, err
	}
	s := sample{
		Calls:     len(l.latencies),
		P50:       microseconds(percentile(l.latencies, 50)),
		P90:       microseconds(percentile(l.latencies, 90)),
		P99:       microseconds(percentile(l.latencies, 99)),
		PerSecond: float64(l.messages) / l.elapsed.Seconds(),
	}
	return s, i.addUsage(cpuBefore, &s)
}

// startUsage resets the peak memory and returns the CPU time of the process so far.
func (i *instance) startUsage() (time.Duration, error) {
	if i.process == nil {
		return 0, nil
	}
	if err := i.process.resetPeak(); err != nil {
		return 0, err
	}
	return i.process.cpu()
}

// addUsage sets a sample's CPU time, which is counted from before, and its peak memory.
func (i *instance) addUsage(before time.Duration, s *sample) error {
	if i.process == nil {
		return nil
	}
	used, err := i.process.cpu()
	if err != nil {
		return err
	}
	_, peak, err := i.process.memory()
	if err != nil {
		return err
	}
	s.CPU = (used - before).Seconds() / float64(s.Calls) * 10_000
	s.Peak = mebibytes(peak)
	return nil
}
