// Package callstats keeps statistics of calls by method. Its memory is bounded, even if
// clients call invented methods.
package callstats

import (
	"iter"
	"maps"
	"strings"
)

// Table has one row for each method, up to a limit. All further methods share one row.
type Table[Row any] struct {
	limit int
	other string
	rows  map[string]*Row
}

// NewTable returns an empty table for limit methods. other is the name of the shared row.
func NewTable[Row any](limit int, other string) *Table[Row] {
	return &Table[Row]{limit: limit, other: other, rows: make(map[string]*Row)}
}

// Find returns the row of a method, or nil if the method has no row of its own.
func (t *Table[Row]) Find(method string) *Row { return t.rows[method] }

// Add adds a row for a method without one. It returns the shared row if the table is full.
func (t *Table[Row]) Add(method string) *Row {
	if t.Full() {
		return t.Other()
	}
	return t.add(strings.Clone(method)) // method may be part of a longer string
}

// Other returns the shared row.
func (t *Table[Row]) Other() *Row {
	if row := t.rows[t.other]; row != nil {
		return row
	}
	return t.add(t.other)
}

func (t *Table[Row]) add(name string) *Row {
	row := new(Row)
	t.rows[name] = row
	return row
}

// Full reports whether the table has reached its limit.
func (t *Table[Row]) Full() bool { return len(t.rows) >= t.limit }

// DeleteFunc deletes the rows for which del returns true.
func (t *Table[Row]) DeleteFunc(del func(*Row) bool) {
	maps.DeleteFunc(t.rows, func(_ string, row *Row) bool { return del(row) })
}

// All returns an iterator over the methods and their rows, in no particular order.
func (t *Table[Row]) All() iter.Seq2[string, *Row] { return maps.All(t.rows) }

// Quantile returns the upper bound of the bucket that holds the given percentile. buckets
// counts calls by duration, shortest first; bound returns a bucket's upper bound.
func Quantile(buckets []int, percent int, bound func(bucket int) float64) float64 {
	calls := 0
	for _, n := range buckets {
		calls += n
	}
	rank := (calls*percent + 99) / 100
	for i, n := range buckets {
		if rank -= n; rank <= 0 {
			return bound(i)
		}
	}
	return 0
}
