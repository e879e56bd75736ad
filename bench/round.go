package main

import (
	"context"
	"fmt"
	"regexp"
	"time"
)

// slice is what one contender did with one workload in one round.
type slice struct {
	Round     int     `json:"round"`
	Calls     int     `json:"calls"`
	P50       float64 `json:"p50Microseconds"`
	P90       float64 `json:"p90Microseconds"`
	P99       float64 `json:"p99Microseconds"`
	PerSecond float64 `json:"messagesPerSecond"` // a unary call has one, a stream of events as many as these
	CPU       float64 `json:"cpuSecondsPer10000Calls"`
	Peak      float64 `json:"peakResidentMiB"`
}

// outcome is all that one contender did with one workload.
type outcome struct {
	Contender string  `json:"contender"`
	Failed    string  `json:"failed,omitempty"` // why it was not tried in later rounds
	Slices    []slice `json:"slices"`
	Twin      spread  `json:"p50ToOpaqueTwin"` // where the workload has one
}

// table is one workload's outcomes, in the order of the contenders.
type table struct {
	workload
	Outcomes []*outcome `json:"outcomes"`
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

// playRound puts each workload to all contenders in turn, each time another one
// first.
func (b *bench) playRound(ctx context.Context, round int) error {
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
				result.Failed = b.clean(err)
				b.log("%s: %s failed: %s", t.Name, result.Contender, result.Failed)
				if err := b.revive(ctx, instance, t.Name); err != nil {
					return err
				}
				continue
			}
			s.Round = round
			result.Slices = append(result.Slices, s)
		}
	}
	return nil
}

// revive connects anew to a contender that has failed a workload. One that does
// not answer any more takes no further part.
func (b *bench) revive(ctx context.Context, i *instance, after string) error {
	err := i.connect(ctx)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s does not answer any more after %s: %w", i.contender.name, after, err)
	if !i.contender.foreign() || ctx.Err() != nil {
		return err
	}
	i.stop()
	delete(b.instances, i.contender)
	for _, t := range b.tables {
		if o := t.of(i.contender.name); o.Failed == "" {
			o.Failed = b.clean(err)
		}
	}
	return nil
}

// measure makes the calls of one slice, and before it some that don't count.
func (b *bench) measure(ctx context.Context, i *instance, w workload) (slice, error) {
	duration := time.Duration(w.share) * b.size.slice
	steps := w.steps(b.registry.host, i.contender.restores)
	if _, err := closedLoop(ctx, i.clients, steps, w.Workers, duration/8); err != nil {
		return slice{}, err
	}
	before, err := i.before()
	if err != nil {
		return slice{}, err
	}
	var l load
	if w.Rate > 0 {
		l, err = openLoop(ctx, i.clients, steps, w.Rate, duration)
	} else {
		l, err = closedLoop(ctx, i.clients, steps, w.Workers, duration)
	}
	if err != nil {
		return slice{}, err
	}
	s := slice{
		Calls:     len(l.latencies),
		P50:       microseconds(percentile(l.latencies, 50)),
		P90:       microseconds(percentile(l.latencies, 90)),
		P99:       microseconds(percentile(l.latencies, 99)),
		PerSecond: float64(l.messages) / l.elapsed.Seconds(),
	}
	return s, i.after(before, &s)
}

// before is what the process has used before a slice.
func (i *instance) before() (time.Duration, error) {
	if i.process == nil {
		return 0, nil
	}
	if err := i.process.resetPeak(); err != nil {
		return 0, err
	}
	return i.process.cpu()
}

// after notes what the process has used in a slice.
func (i *instance) after(before time.Duration, s *slice) error {
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
