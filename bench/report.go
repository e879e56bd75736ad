package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// write keeps the results as JSON, as tables and as a plot.
func (r *results) write(folder string) error {
	encoded, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return errors.Join(
		os.MkdirAll(folder, 0o755),
		os.WriteFile(filepath.Join(folder, "results.json"), append(encoded, '\n'), 0o644),
		os.WriteFile(filepath.Join(folder, "results.md"), r.markdown(), 0o644),
		os.WriteFile(filepath.Join(folder, "results.svg"), r.plot(), 0o644),
	)
}

// printTargets is what an operator of the benchmark wants to know first.
func (r *results) printTargets(output io.Writer) {
	table := tabwriter.NewWriter(output, 0, 0, 2, ' ', 0)
	for _, v := range r.Targets {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", v.Contender, v.What, v.Target, v.Measured, v.Met)
	}
	_ = table.Flush()
}

// sheet writes Markdown.
type sheet struct{ bytes.Buffer }

func (s *sheet) row(cells ...string) { fmt.Fprintf(s, "| %s |\n", strings.Join(cells, " | ")) }

func (s *sheet) header(cells ...string) {
	s.row(cells...)
	fmt.Fprintf(s, "|%s\n", strings.Repeat(" --- |", len(cells)))
}

func (r *results) markdown() []byte {
	s := &sheet{}
	m := r.Machine
	fmt.Fprintf(s, "# What the benchmark has measured\n\n")
	fmt.Fprintf(s, "On %s, %d cores (%s), %s, %s, %s, %d rounds in %d s. Figures are the median over the rounds and, in brackets, the least and the greatest.\n",
		r.Date, m.Cores, m.Processor, m.Kernel, m.Go, strings.Join(m.Others, ", "), r.Rounds, r.Seconds)
	if r.Quick {
		fmt.Fprintf(s, "\nThis was a quick run, which shows that all works and is too short to judge by.\n")
	}
	r.writeTargets(s)
	for _, t := range r.Tables {
		r.writeTable(s, t)
	}
	r.writePrograms(s)
	r.writeEndurance(s)
	return s.Bytes()
}

func (r *results) writeTargets(s *sheet) {
	fmt.Fprintf(s, "\n## Targets\n\n")
	s.header("contender", "what", "target", "measured", "")
	for _, v := range r.Targets {
		s.row(v.Contender, v.What, v.Target, v.Measured.String(), v.Met)
	}
}

func (r *results) writeTable(s *sheet, t *table) {
	fmt.Fprintf(s, "\n## %s\n\n", t.Name)
	s.header("contender", "p50 µs", "added p50 µs", "p90 µs", "p99 µs", "a second", "of direct", "of the relay", "CPU s per 10,000 calls", "peak MiB", "objects per call", "KiB per call")
	for _, o := range t.Outcomes {
		if len(o.Slices) == 0 {
			s.row(append([]string{o.Contender, "failed: " + oneLine(o.Failed)}, slices.Repeat([]string{""}, 10)...)...)
			continue
		}
		kept := o.Slices
		cells := []string{
			o.Contender,
			over(kept, func(s slice) float64 { return s.P50 }).String(),
			against("direct", o.Contender, t.added(o.Contender)),
			over(kept, func(s slice) float64 { return s.P90 }).String(),
			over(kept, func(s slice) float64 { return s.P99 }).String(),
			over(kept, func(s slice) float64 { return s.PerSecond }).String(),
			against("direct", o.Contender, t.throughput(o.Contender, "direct")),
			against("relay", o.Contender, t.throughput(o.Contender, "relay")),
		}
		if o.Contender == "direct" {
			s.row(append(cells, "-", "-", "-", "-")...)
			continue
		}
		cells = append(cells,
			over(kept, func(s slice) float64 { return s.CPU }).String(),
			over(kept, func(s slice) float64 { return s.Peak }).String())
		if a, ok := r.program(o.Contender).Allocated[t.Name]; ok {
			cells = append(cells, a.Objects.String(), number(a.Bytes.Median/1024))
		} else {
			cells = append(cells, "-", "-")
		}
		s.row(cells...)
		if o.Failed != "" {
			fmt.Fprintf(s, "| %s | from then on failed: %s | | | | | | | | | | |\n", o.Contender, oneLine(o.Failed))
		}
	}
}

// against is a figure in relation to another contender: of that one itself there
// is none.
func against(other, contender string, figure spread) string {
	if contender == other {
		return "-"
	}
	return figure.String()
}

func (r *results) writePrograms(s *sheet) {
	fmt.Fprintf(s, "\n## Programs\n\n")
	s.header("contender", "start to first answered call, ms", "idle resident MiB", "binary MB")
	for _, p := range r.Programs {
		if p.Contender == "direct" {
			continue
		}
		binary := "-"
		if p.Binary > 0 {
			binary = number(p.Binary)
		}
		if p.Missing != "" {
			s.row(p.Contender, p.Missing, "-", binary)
			continue
		}
		s.row(p.Contender, p.Start.String(), p.Idle.String(), binary)
	}
}

func (r *results) writeEndurance(s *sheet) {
	fmt.Fprintf(s, "\n## In the long run\n\n")
	s.header("contender", "calls", "p50 µs of each tenth, 32 at once", "of the direct way after each tenth", "resident MiB after each tenth", "connections", "p50 with them to without", "the same at the runtime itself", "KiB for each", "MiB per connection while 8 MiB pass over each", "16 MiB")
	for _, p := range r.Programs {
		if p.Calls == nil || p.Open == nil {
			continue
		}
		s.row(p.Contender, thousands(p.Calls.Calls), numbers(p.Calls.P50), numbers(p.Calls.Direct), numbers(p.Calls.Resident),
			thousands(p.Open.Connections), p.Open.Time.String(), p.Open.Direct.String(), number(p.Open.PerConnection),
			p.Passing["8 MiB"].String(), p.Passing["16 MiB"].String())
	}
}

func numbers(values []float64) string {
	var all []string
	for _, v := range values {
		all = append(all, number(v))
	}
	return strings.Join(all, " ")
}

// oneLine makes an error's text fit a cell.
func oneLine(text string) string {
	const enough = 160
	text = strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", "/")
	if len(text) > enough {
		text = text[:enough] + "..."
	}
	return text
}
