package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// write writes the results to folder, as tables and as a plot.
func (r *results) write(folder string) error {
	return errors.Join(
		os.MkdirAll(folder, 0o755),
		os.WriteFile(filepath.Join(folder, "results.md"), r.markdown(), 0o644),
		os.WriteFile(filepath.Join(folder, "results.svg"), r.plot(), 0o644),
	)
}

// printTargets prints the targets: the summary of a run.
func (r *results) printTargets(output io.Writer) {
	table := tabwriter.NewWriter(output, 0, 0, 2, ' ', 0)
	for _, v := range r.Targets {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", v.Contender, v.What, v.Target, v.Measured, v.Met)
	}
	_ = table.Flush()
}

// markdown is a buffer for Markdown text.
type markdown struct{ bytes.Buffer }

func (s *markdown) row(cells ...string) { fmt.Fprintf(s, "| %s |\n", strings.Join(cells, " | ")) }

func (s *markdown) header(cells ...string) {
	s.row(cells...)
	fmt.Fprintf(s, "|%s\n", strings.Repeat(" --- |", len(cells)))
}

func (r *results) markdown() []byte {
	s := &markdown{}
	m := r.Machine
	fmt.Fprintf(s, "# Results of the benchmark\n\n")
	fmt.Fprintf(s, "On %s, %d cores (%s; load average before: %s), %s, %s, %s, %d rounds in %d s. Figures are the median over the rounds and, in brackets, the minimum and the maximum.\n",
		r.Date, m.Cores, m.Processor, number(m.Load), m.Kernel, m.Go, strings.Join(m.Others, ", "), r.Rounds, r.Seconds)
	if r.Quick {
		fmt.Fprintf(s, "\nThis was a quick run: it shows that everything works, and is too short for conclusions.\n")
	}
	r.writeTargets(s)
	for _, t := range r.Tables {
		r.writeTable(s, t)
	}
	r.writePrograms(s)
	r.writeEndurance(s)
	return s.Bytes()
}

func (r *results) writeTargets(s *markdown) {
	fmt.Fprintf(s, "\n## Targets\n\n")
	s.header("contender", "what", "target", "measured", "")
	for _, v := range r.Targets {
		s.row(v.Contender, v.What, v.Target, v.Measured.String(), v.Met)
	}
}

func (r *results) writeTable(s *markdown, t *table) {
	fmt.Fprintf(s, "\n## %s\n\n", t.Name)
	s.header("contender", "p50 µs", "p90 µs", "p99 µs", "added p50 µs", "added p90 µs", "added p99 µs")
	percentiles := []func(sample) float64{
		func(s sample) float64 { return s.P50 },
		func(s sample) float64 { return s.P90 },
		func(s sample) float64 { return s.P99 },
	}
	for _, o := range t.Outcomes {
		if o.Failed != "" {
			s.row(append([]string{o.Contender, oneLine(r.failed(o))}, slices.Repeat([]string{""}, 5)...)...)
		}
		if len(o.Samples) == 0 {
			continue
		}
		cells := []string{o.Contender}
		for _, p := range percentiles {
			cells = append(cells, over(o.Samples, p).String())
		}
		for _, p := range percentiles {
			cells = append(cells, against("direct", o.Contender, t.added(o.Contender, p)))
		}
		s.row(cells...)
	}
	fmt.Fprintln(s)
	s.header("contender", "a second", "of direct", "of the relay", "CPU s per 10,000 calls", "peak MiB", "objects per call", "KiB per call", "p50 to an opaque call")
	for _, o := range t.Outcomes {
		if len(o.Samples) > 0 {
			s.row(append([]string{o.Contender}, r.effort(t, o)...)...)
		}
	}
}

// failed returns the reason why an outcome has no samples, or no more of them.
func (r *results) failed(o *outcome) string {
	switch {
	case r.program(o.Contender).Missing != "":
		return o.Failed
	case len(o.Samples) > 0:
		return fmt.Sprintf("failed after %d rounds: %s", len(o.Samples), o.Failed)
	}
	return "failed: " + o.Failed
}

// effort returns the cells of an outcome's throughput and resources.
func (r *results) effort(t *table, o *outcome) []string {
	cells := []string{
		over(o.Samples, func(s sample) float64 { return s.PerSecond }).String(),
		against("direct", o.Contender, t.throughput(o.Contender, "direct")),
		against("relay", o.Contender, t.throughput(o.Contender, "relay")),
		"-", "-", "-", "-", o.OpaqueRatio.String(),
	}
	if o.Contender != "direct" {
		cells[3] = over(o.Samples, func(s sample) float64 { return s.CPU }).String()
		cells[4] = over(o.Samples, func(s sample) float64 { return s.Peak }).String()
	}
	if a, ok := r.program(o.Contender).Allocated[t.Name]; ok {
		cells[5], cells[6] = a.Objects.String(), number(a.Bytes.Median/1024)
	}
	return cells
}

// against formats a figure relative to another contender. It is "-" for that contender
// itself.
func against(other, contender string, figure spread) string {
	if contender == other {
		return "-"
	}
	return figure.String()
}

func (r *results) writePrograms(s *markdown) {
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

func (r *results) writeEndurance(s *markdown) {
	fmt.Fprintf(s, "\n## Large messages, many connections\n\n")
	s.header("contender", "MiB per connection while 8 MiB pass over each", "16 MiB", "connections", "p50 with them to without", "KiB for each")
	for _, p := range r.Programs {
		if p.Connections != nil {
			s.row(p.Contender, p.LargeMessages["8 MiB"].String(), p.LargeMessages["16 MiB"].String(),
				thousands(p.Connections.Connections), p.Connections.Time.String(), number(p.Connections.PerConnection))
		}
	}
	fmt.Fprintf(s, "\n## Many calls\n\n")
	s.header("contender", "calls", "p50 after them to that after a twentieth", "p50 µs of each tenth, 32 at once", "resident MiB after each tenth")
	for _, p := range r.Programs {
		if p.LongRun != nil {
			s.row(p.Contender, thousands(p.LongRun.Calls), p.LongRun.Time.String(), numbers(p.LongRun.P50), numbers(p.LongRun.Resident))
		}
	}
}

func numbers(values []float64) string {
	var all []string
	for _, v := range values {
		all = append(all, number(v))
	}
	return strings.Join(all, " ")
}

// oneLine returns an error's text on one line and cut to the size of a cell.
func oneLine(text string) string {
	const enough = 160
	text = strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", "/")
	if len(text) > enough {
		text = text[:enough] + "..."
	}
	return text
}
