package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// measureOpaqueCalls compares workloads with opaque calls: the same requests and answers
// under a method that a proxy does not know and only forwards. One worker alternates
// between the two, so that both run under the same conditions.
func (b *bench) measureOpaqueCalls(ctx context.Context) error {
	for _, t := range b.tables {
		if !t.hasOpaque {
			continue
		}
		ratios := map[*contender][]float64{}
		for round := range 2 * b.size.rounds {
			for turn := range b.contenders {
				c := b.contenders[(turn+round)%len(b.contenders)]
				i := b.instances[c]
				if i == nil || t.of(c.name).Failed != "" || c.foreign() {
					continue
				}
				ratio, err := b.compareOpaqueCall(ctx, i, t.workload)
				if err != nil {
					return fmt.Errorf("%s: %s beside its opaque call: %w", c.name, t.Name, err)
				}
				ratios[c] = append(ratios[c], ratio)
			}
		}
		for c, values := range ratios {
			t.of(c.name).OpaqueRatio = spreadOf(values)
		}
	}
	return nil
}

// compareOpaqueCall returns the p50 of a workload divided by that of its opaque call.
func (b *bench) compareOpaqueCall(ctx context.Context, i *instance, w workload) (float64, error) {
	var took [2][]time.Duration
	steps := w.steps(b.registry.host, i.contender.restores)
	opaqueSteps := w.steps(b.registry.host, i.contender.names) // in opaque calls the shim restores no names
	duration := time.Duration(w.share) * 2 * b.size.sampleTime
	for begun, made := time.Now(), 0; made == 0 || time.Since(begun) < duration; made++ {
		opaqueStep := opaqueSteps[made%len(opaqueSteps)]
		opaqueStep.method = opaque(opaqueStep.method)
		pair := [2]step{steps[made%len(steps)], opaqueStep}
		for turn := range pair {
			n := (turn + made) % len(pair) // the first of the two alternates
			asked := time.Now()
			if _, err := pair[n].call(ctx, i.clients[0]); err != nil {
				return 0, err
			}
			took[n] = append(took[n], time.Since(asked))
		}
	}
	slices.Sort(took[0])
	slices.Sort(took[1])
	return float64(percentile(took[0], 50)) / float64(percentile(took[1], 50)), nil
}
