package trace

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc/codes"
)

// Summary adds up events by method. It ignores lost events.
type Summary struct {
	rows map[string]*tally
}

// MethodSummary is what the calls of one method add up to. Of the durations only how
// many lie in which range is kept, each range ending 1 % higher than the one before it.
type MethodSummary struct {
	Method        string  `json:"method"`
	Calls         int64   `json:"calls"`
	Errors        int64   `json:"errors"`
	Messages      int64   `json:"messages"` // of calls that have many
	P50           float64 `json:"p50Seconds"`
	P90           float64 `json:"p90Seconds"`
	P99           float64 `json:"p99Seconds"`
	Max           float64 `json:"maxSeconds"`
	RequestBytes  int64   `json:"requestBytes"`  // of calls that have ended
	ResponseBytes int64   `json:"responseBytes"` // of calls that have ended
}

type tally struct {
	MethodSummary
	durations map[int]int64 // how many lie in a range
}

// Add adds an event.
func (s *Summary) Add(e Event) {
	if e.Kind == KindLost {
		return
	}
	if s.rows == nil {
		s.rows = make(map[string]*tally)
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
	row.durations[rangeOf(e.Seconds)]++
}

// row is the one of a method. Those beyond mostMethods, and of names that are too long,
// have one together.
func (s *Summary) row(method string) *tally {
	if row := s.rows[method]; row != nil {
		return row
	}
	if method != otherMethods && (len(s.rows) >= mostMethods || len(method) > longest) {
		return s.row(otherMethods)
	}
	row := &tally{MethodSummary: MethodSummary{Method: method}, durations: make(map[int]int64)}
	s.rows[method] = row
	return row
}

const (
	mostMethods  = 256 // both versions of the CRI have 86
	otherMethods = "other"
)

const (
	growth      = 1.01
	shortest    = 1e-6 // seconds; what is shorter lies in the first range
	longestCall = 1e8  // seconds; what is longer lies in the last range
)

func rangeOf(seconds float64) int {
	return int(math.Ceil(math.Log(min(max(seconds, shortest), longestCall)/shortest) / math.Log(growth)))
}

// quantile is a duration that no more than a part of the calls exceed.
func (t *tally) quantile(part float64) float64 {
	rank, seen := int64(math.Ceil(part*float64(t.Calls))), int64(0)
	for _, place := range slices.Sorted(maps.Keys(t.durations)) {
		if seen += t.durations[place]; seen >= rank {
			return min(shortest*math.Pow(growth, float64(place)), t.Max)
		}
	}
	return t.Max
}

// Methods are the sums, those with the most calls first.
func (s *Summary) Methods() []MethodSummary {
	all := make([]MethodSummary, 0, len(s.rows))
	for _, row := range s.rows {
		sum := row.MethodSummary
		sum.P50, sum.P90, sum.P99 = row.quantile(0.5), row.quantile(0.9), row.quantile(0.99)
		all = append(all, sum)
	}
	slices.SortFunc(all, func(a, b MethodSummary) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Method, b.Method))
	})
	return all
}

// Write writes a table, or JSON.
func (s *Summary) Write(w io.Writer, text bool) error {
	if text {
		return s.writeTable(w)
	}
	sums, err := json.MarshalIndent(s.Methods(), "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(printable(sums), '\n'))
	return err
}

func (s *Summary) writeTable(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "METHOD\tCALLS\tERRORS\tP50\tP90\tP99\tMAX\tREQUESTS\tRESPONSES\tMESSAGES\n")
	for _, m := range s.Methods() {
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", clean(shortMethod(m.Method)), m.Calls, m.Errors,
			m.took(m.P50), m.took(m.P90), m.took(m.P99), m.took(m.Max), size(m.RequestBytes), size(m.ResponseBytes), m.Messages)
	}
	return table.Flush()
}

// took is a duration of the calls, of which there may be none.
func (m *MethodSummary) took(seconds float64) string {
	if m.Calls == 0 {
		return "-"
	}
	return duration(seconds)
}

// duration is for people, in three digits or so.
func duration(seconds float64) string {
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

// size is a number of bytes for people.
func size(bytes int64) string {
	switch {
	case bytes < 10<<10:
		return fmt.Sprintf("%dB", bytes)
	case bytes < 10<<20:
		return fmt.Sprintf("%dKiB", bytes>>10)
	default:
		return fmt.Sprintf("%dMiB", bytes>>20)
	}
}
