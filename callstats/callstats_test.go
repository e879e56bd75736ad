package callstats

import (
	"fmt"
	"testing"
)

func TestTable(t *testing.T) {
	table := NewTable[int](2, "other")
	add := func(method string) {
		row := table.Find(method)
		if row == nil {
			row = table.Add(method)
		}
		*row++
	}
	check := func(want string) {
		t.Helper()
		rows := make(map[string]int)
		for method, row := range table.All() {
			rows[method] = *row
		}
		if got := fmt.Sprint(rows); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for _, method := range []string{"a", "b", "a", "c", "d", "b"} {
		add(method)
	}
	check("map[a:2 b:2 other:2]")
	table.DeleteFunc(func(row *int) bool { return row != table.Find("a") })
	check("map[a:2]")
	*table.Other()++
	add("b")
	check("map[a:2 other:2]") // the shared row counts, too
}

func TestQuantile(t *testing.T) {
	bound := func(bucket int) float64 { return float64(bucket + 1) }
	for _, test := range []struct {
		buckets []int
		percent int
		want    float64
	}{
		{nil, 50, 0},
		{[]int{1}, 50, 1},
		{[]int{0, 0, 1}, 1, 3},
		{[]int{1, 1}, 50, 1},
		{[]int{1, 1}, 51, 2},
		{[]int{95, 4, 1}, 95, 1},
		{[]int{94, 5, 1}, 95, 2},
		{[]int{94, 5, 1}, 100, 3},
	} {
		if got := Quantile(test.buckets, test.percent, bound); got != test.want {
			t.Errorf("%d%% of %v: got %v, want %v", test.percent, test.buckets, got, test.want)
		}
	}
}
