package main

import (
	"math"
	"slices"
	"time"
)

// percentile returns the nearest-rank percentile: the smallest value that is at least as
// large as p percent of the sorted values. It returns 0 if there are no values.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// spread is the median, the minimum and the maximum of a figure over the
// rounds.
type spread struct {
	Median float64
	Least  float64
	Most   float64
	Rounds int // number of rounds; 0: there is no figure
}

func spreadOf(values []float64) spread {
	values = slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
	if len(values) == 0 {
		return spread{}
	}
	slices.Sort(values)
	middle := len(values) / 2
	median := values[middle]
	if len(values)%2 == 0 {
		median = (values[middle-1] + values[middle]) / 2
	}
	return spread{Median: median, Least: values[0], Most: values[len(values)-1], Rounds: len(values)}
}

// pairwise returns the spread of a figure of two contenders, combined within each round
// that both have, because a machine that is slow for a while affects both.
func pairwise(a, b []sample, combine func(a, b sample) float64) spread {
	var values []float64
	for _, one := range a {
		for _, other := range b {
			if one.Round == other.Round {
				values = append(values, combine(one, other))
			}
		}
	}
	return spreadOf(values)
}

func over(samples []sample, figure func(sample) float64) spread {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = figure(s)
	}
	return spreadOf(values)
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func mebibytes(bytes int64) float64        { return float64(bytes) / (1 << 20) }
