package main

import (
	"math"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for _, test := range []struct {
		name   string
		sorted []time.Duration
		p      float64
		want   time.Duration
	}{
		{"none", nil, 50, 0},
		{"one", hundred[:1], 99, 1},
		{"the lower middle of two", hundred[:2], 50, 1},
		{"the middle of three", hundred[:3], 50, 2},
		{"the median of a hundred", hundred, 50, 50},
		{"p90", hundred, 90, 90},
		{"p99", hundred, 99, 99},
		{"p99 of few is the greatest", hundred[:20], 99, 20},
		{"the least", hundred, 0, 1},
		{"the greatest", hundred, 100, 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := percentile(test.sorted, test.p); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		name   string
		values []float64
		want   spread
		text   string
	}{
		{"none", nil, spread{}, "-"},
		{"one", []float64{2.5}, spread{2.5, 2.5, 2.5, 1}, "2.50"},
		{"odd", []float64{3, 1, 2}, spread{2, 1, 3, 3}, "2 (1 to 3)"},
		{"even", []float64{4, 1, 2, 3}, spread{2.5, 1, 4, 4}, "2.50 (1 to 4)"},
		{"what can't be divided is no figure", []float64{math.Inf(1), 7, math.NaN()}, spread{7, 7, 7, 1}, "7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := spreadOf(test.values)
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if got.String() != test.text {
				t.Errorf("got %q, want %q", got, test.text)
			}
		})
	}
}

func TestNumber(t *testing.T) {
	for value, want := range map[float64]string{
		0: "0", 1: "1", 0.0451: "0.045", 0.9512: "0.951", 1.304: "1.30", 99.96: "100.0", 133.4: "133", 2549.2: "2549",
		12345.6: "12,346", -26.14: "-26.1", -1234567: "-1,234,567", 1000000: "1,000,000",
	} {
		if got := number(value); got != want {
			t.Errorf("%v: got %q, want %q", value, got, want)
		}
	}
}

// testTable returns two rounds, and a third one in which the relay has failed. In the second
// round the whole machine ran at half its speed.
func testTable() *table {
	return &table{workload: workload{Name: "Version, one at a time", Workers: 1}, Outcomes: []*outcome{
		{Contender: "direct", Samples: []sample{{Round: 1, P50: 100, PerSecond: 10_000}, {Round: 2, P50: 200, PerSecond: 5000}, {Round: 3, P50: 100, PerSecond: 10_000}}},
		{Contender: "relay", Failed: "it broke", Samples: []sample{{Round: 1, P50: 140, PerSecond: 8000}, {Round: 2, P50: 280, PerSecond: 4000}}},
		{Contender: "haproxy", Samples: []sample{{Round: 1, P50: 110}, {Round: 2, P50: 200}, {Round: 3, P50: 90}}},
		{Contender: "shim, frames", Samples: []sample{{Round: 1, P50: 150, PerSecond: 7200}, {Round: 2, P50: 300, PerSecond: 3600}, {Round: 3, P50: 150, PerSecond: 7000}}},
	}}
}

func TestFiguresAreComparedWithinARound(t *testing.T) {
	table := testTable()
	p50 := func(s sample) float64 { return s.P50 }
	for name, test := range map[string]struct{ got, want spread }{
		"added":                                {table.added("relay", p50), spread{60, 40, 80, 2}},
		"throughput":                           {table.throughput("shim, frames", "relay"), spread{0.9, 0.9, 0.9, 2}},
		"added ratio":                          {table.addedRatio("shim, frames", "relay"), spread{1.25, 1.25, 1.25, 2}},
		"added ratio, where anything is added": {table.addedRatio("shim, frames", "haproxy"), spread{5, 5, 5, 1}},
		"no such one":                          {table.added("nginx", p50), spread{}},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %+v, want %+v", name, test.got, test.want)
		}
	}
}

func TestSecondHalfRatioLeavesTheWarmUpOut(t *testing.T) {
	if got := secondHalfRatio([]float64{1000, 2, 2, 2, 2, 3, 3, 3, 3, 3}); got != 1.5 {
		t.Errorf("got %v, want 1.5", got)
	}
}
