package trace

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc/codes"

	"image-cri-shim/callstats"
)

// Summary adds up the calls by method. It ignores lost events.
type Summary struct {
	rows *callstats.Table[summaryRow] // nil before the first event
}

// MethodSummary is the summary of the calls of one method. Quantiles are accurate to 1 %.
type MethodSummary struct {
	Version       int     `json:"version"` // of the format
	Method        string  `json:"method"`
	Calls         int64   `json:"calls"`
	Errors        int64   `json:"errors"`
	Messages      int64   `json:"messages"` // of streaming calls
	P50           float64 `json:"p50Seconds"`
	P90           float64 `json:"p90Seconds"`
	P99           float64 `json:"p99Seconds"`
	Max           float64 `json:"maxSeconds"`
	RequestBytes  int64   `json:"requestBytes"`  // of finished calls
	ResponseBytes int64   `json:"responseBytes"` // of finished calls
}

type summaryRow struct {
	MethodSummary
	buckets []int // number of calls by duration; grows as needed
}

// Add adds an event.
func (s *Summary) Add(e Event) {
	if e.Kind == KindLost {
		return
	}
	row := s.row(e.Method)
	if e.Kind == KindMessage {
		row.Messages++
		return
	}
	row.Calls++
	if e.Code != codes.OK.String() {
		row.Errors++
	}
	row.Max = max(row.Max, e.Seconds)
	row.RequestBytes += e.RequestBytes
	row.ResponseBytes += e.ResponseBytes
	row.count(bucketOf(e.Seconds))
}

// row returns the row of a method. Methods beyond maxMethods and methods with long names
// share one row.
func (s *Summary) row(method string) *summaryRow {
	if s.rows == nil {
		s.rows = callstats.NewTable[summaryRow](maxMethods, otherMethods)
	}
	if row := s.rows.Find(method); row != nil {
		return row
	}
	if len(method) > maxTextBytes {
		return s.rows.Other()
	}
	return s.rows.Add(method)
}

const (
	maxMethods   = 256 // both versions of the CRI have 86
	otherMethods = "other"
)

// The bounds of a summary's buckets, in seconds. Each bound is 1 % higher than the one before
// it. Shorter calls fall into the first bucket, longer calls into the last.
const (
	bucketGrowth = 1.01
	firstBucket  = 1e-6
	lastBucket   = 1e8
)

func bucketOf(seconds float64) int {
	return int(math.Ceil(math.Log(min(max(seconds, firstBucket), lastBucket)/firstBucket) / math.Log(bucketGrowth)))
}

func boundOf(bucket int) float64 { return firstBucket * math.Pow(bucketGrowth, float64(bucket)) }

func (r *summaryRow) count(bucket int) {
	if missing := bucket + 1 - len(r.buckets); missing > 0 {
		r.buckets = append(r.buckets, make([]int, missing)...)
	}
	r.buckets[bucket]++
}

// quantile returns the duration that a percentage of the calls did not exceed.
func (r *summaryRow) quantile(percent int) float64 {
	return min(callstats.Quantile(r.buckets, percent, boundOf), r.Max)
}

// Methods returns the summaries of all methods, the method with the most calls first.
func (s *Summary) Methods() []MethodSummary {
	all := []MethodSummary{}
	if s.rows == nil {
		return all
	}
	for method, row := range s.rows.All() {
		sum := row.MethodSummary
		sum.Version, sum.Method = formatVersion, method
		sum.P50, sum.P90, sum.P99 = row.quantile(50), row.quantile(90), row.quantile(99)
		all = append(all, sum)
	}
	slices.SortFunc(all, func(a, b MethodSummary) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Method, b.Method))
	})
	return all
}

// Write writes the summary as a table or as JSON.
func (s *Summary) Write(w io.Writer, text bool) error {
	if text {
		return s.writeTable(w)
	}
	sums, err := json.MarshalIndent(s.Methods(), "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(escapeControls(sums), '\n'))
	return err
}

func (s *Summary) writeTable(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "METHOD\tCALLS\tERRORS\tP50\tP90\tP99\tMAX\tREQUESTS\tRESPONSES\tMESSAGES\n")
	for _, m := range s.Methods() {
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", replaceUnprintable(shortMethod(m.Method)), m.Calls, m.Errors,
			m.durationText(m.P50), m.durationText(m.P90), m.durationText(m.P99), m.durationText(m.Max), formatSize(m.RequestBytes), formatSize(m.ResponseBytes), m.Messages)
	}
	return table.Flush()
}

// durationText formats one of the method's durations. It returns "-" without calls.
func (m *MethodSummary) durationText(seconds float64) string {
	if m.Calls == 0 {
		return "-"
	}
	return formatDuration(seconds)
}

// formatDuration formats a duration with about three digits.
func formatDuration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(time.Millisecond).String()
	}
}

// formatSize formats a number of bytes.
func formatSize(bytes int64) string {
	switch {
	case bytes < 10<<10:
		return fmt.Sprintf("%dB", bytes)
	case bytes < 10<<20:
		return fmt.Sprintf("%dKiB", bytes>>10)
	default:
		return fmt.Sprintf("%dMiB", bytes>>20)
	}
}
