package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Report holds all findings, in the order of the checks.
type Report struct {
	Level    Level     `json:"level"` // the worst
	Findings []Finding `json:"findings"`
}

func newReport(findings []Finding) Report {
	r := Report{Findings: findings}
	for _, f := range findings {
		r.Level = max(r.Level, f.Level)
	}
	return r
}

// WriteText writes the report as text: a line for each finding with its remedy below, and
// finally the number of findings of each level.
func (r Report) WriteText(w io.Writer) error {
	var counts [Fail + 1]int
	var rows strings.Builder
	table := tabwriter.NewWriter(&rows, 0, 0, 2, ' ', 0)
	for _, f := range r.Findings {
		counts[f.Level]++
		fmt.Fprintf(table, "%v\t%s\t%s\t%s\n", f.Level, f.Check, f.Subject, f.Text)
	}
	_ = table.Flush() // writing to a strings.Builder does not fail
	lines := strings.SplitAfter(rows.String(), "\n")
	for i, f := range r.Findings {
		if f.Hint != "" {
			lines[i] += "      do: " + f.Hint + "\n"
		}
	}
	_, err := fmt.Fprintf(w, "%s%d OK, %d WARN, %d FAIL\n", strings.Join(lines, ""), counts[OK], counts[Warn], counts[Fail])
	return err
}

// WriteJSON writes the report as JSON.
func (r Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
