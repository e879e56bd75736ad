package doctor

import (
	"cmp"
	"encoding/json"
	"io"
	"slices"
)

// Report holds all findings: first those of level Fail, then Warn, then OK. Findings of the
// same level are in the order of the checks.
type Report struct {
	Level    Level     `json:"level"`   // the worst
	Verdict  string    `json:"verdict"` // consequence for this node, in one line
	Findings []Finding `json:"findings"`
}

func newReport(findings []Finding) Report {
	findings = slices.Clone(findings)
	slices.SortStableFunc(findings, func(a, b Finding) int { return cmp.Compare(b.Level, a.Level) })
	r := Report{Findings: findings, Verdict: verdict(findings)}
	if len(findings) > 0 {
		r.Level = findings[0].Level
	}
	return r
}

// WriteJSON writes the report as JSON. quiet omits findings of level OK.
func (r Report) WriteJSON(w io.Writer, quiet bool) error {
	if quiet {
		r.Findings = slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return f.Level == OK })
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
