// Package table prints a fleet as a table with a summary.
package table

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/duration"

	"image-cri-shim/kubectl/fleet"
)

// Options are the form of a table.
type Options struct {
	Wide  bool // all columns, and reasons in full
	Width int  // of the terminal, to which reasons are cut; 0: not cut
	Now   time.Time
}

// minReason is the number of characters of a reason that are printed on any terminal.
const minReason = 20

// Write writes the table, the summary and the notes of a fleet.
func Write(w io.Writer, f *fleet.Fleet, options Options) error {
	var b bytes.Buffer
	if len(f.Nodes) > 0 {
		if err := writeRows(&b, f.Nodes, options); err != nil {
			return err
		}
	}
	fmt.Fprintln(&b, summary(f.Summary))
	for _, note := range f.Notes {
		fmt.Fprintln(&b, "note:", note)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// writeRows writes a line for each node. The reason is the last column, so that it may have any
// length.
func writeRows(w io.Writer, nodes []fleet.Node, options Options) error {
	columns := columnsFor(nodes, options)
	var aligned bytes.Buffer
	table := tabwriter.NewWriter(&aligned, 0, 0, 3, ' ', 0)
	for i := -1; i < len(nodes); i++ {
		for _, c := range columns {
			cell := c.name
			if i >= 0 {
				cell = cmp.Or(c.cell(nodes[i]), "-")
			}
			fmt.Fprintf(table, "%s\t", cell)
		}
		fmt.Fprintln(table)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	reason := "REASON"
	for i := -1; i < len(nodes); i++ {
		line, err := aligned.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimSuffix(line, "\n")
		if i >= 0 {
			reason = cmp.Or(nodes[i].Reason, "-")
		}
		if options.Width > 0 && !options.Wide {
			reason = cut(reason, max(minReason, options.Width-utf8.RuneCountInString(line)))
		}
		fmt.Fprintln(w, line+reason)
	}
	return nil
}

// cut returns at most limit characters of text.
func cut(text string, limit int) string {
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit-3]) + "..."
	}
	return text
}

type column struct {
	name string
	cell func(fleet.Node) string
}

func columnsFor(nodes []fleet.Node, options Options) []column {
	columns := []column{
		{"NODE", func(n fleet.Node) string { return n.Node }},
		{"VERSION", func(n fleet.Node) string { return n.Version }},
		{"CONFIGURATION", func(n fleet.Node) string { return n.Configuration }},
		{"STATE", func(n fleet.Node) string { return string(n.State) }},
		{"RESTARTS", func(n fleet.Node) string { return strconv.Itoa(int(n.Restarts)) }},
		{"AGE", func(n fleet.Node) string { return duration.HumanDuration(options.Now.Sub(n.Created)) }},
		{"PULLS FAILING", pullsFailing},
	}
	release := func(n fleet.Node) string { return n.Namespace + "/" + n.Release }
	if options.Wide || slices.ContainsFunc(nodes, func(n fleet.Node) bool { return release(n) != release(nodes[0]) }) {
		columns = slices.Insert(columns, 1, column{"RELEASE", release})
	}
	if options.Wide {
		columns = append(columns, column{"POD", func(n fleet.Node) string { return n.Pod }}, column{"IMAGES FAILING", imagesFailing})
	}
	return columns
}

func pullsFailing(n fleet.Node) string {
	if n.PullsFailing == nil {
		return "not permitted"
	}
	return strconv.Itoa(*n.PullsFailing)
}

func imagesFailing(n fleet.Node) string {
	var names []string
	listed := 0
	for _, image := range n.ImagesFailing {
		names = append(names, image.Image)
		listed += image.Containers
	}
	if n.PullsFailing != nil && listed < *n.PullsFailing {
		names = append(names, "...")
	}
	return strings.Join(names, ",")
}

// summary returns the line below the table.
func summary(s fleet.Summary) string {
	var states []string
	for _, state := range byCount(s.States) {
		states = append(states, fmt.Sprintf("%d %s", s.States[state], state))
	}
	parts := []string{
		fmt.Sprintf("%d %s: %s", s.Nodes, plural("node", s.Nodes), strings.Join(states, ", ")),
		counts("version", s.Versions),
		counts("configuration", s.Configurations),
	}
	if s.PullsFailing != nil && *s.PullsFailing > 0 {
		parts = append(parts, fmt.Sprintf("%d %s failing", *s.PullsFailing, plural("pull", *s.PullsFailing)))
	}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), "; ")
}

// maxValues is the number of versions and of configurations that the summary names.
const maxValues = 5

// counts returns the values with the number of their nodes, or only the value if there is one.
func counts(name string, values map[string]int) string {
	var texts []string
	for _, value := range byCount(values) {
		text := cmp.Or(value, "none")
		if len(values) > 1 {
			text += fmt.Sprintf(" (%d)", values[value])
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		return ""
	}
	if more := len(texts) - maxValues; more > 0 {
		texts = append(texts[:maxValues], fmt.Sprintf("%d more", more))
	}
	return plural(name, len(values)) + " " + strings.Join(texts, ", ")
}

// byCount returns the keys, those with the highest count first.
func byCount[K ~string](values map[K]int) []K {
	return slices.SortedFunc(maps.Keys(values), func(a, b K) int {
		return cmp.Or(cmp.Compare(values[b], values[a]), cmp.Compare(a, b))
	})
}

func plural(name string, count int) string {
	if count == 1 {
		return name
	}
	return name + "s"
}
