package explain

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"image-cri-shim/registry"
	"image-cri-shim/rewrite/naming"
)

// WriteText writes complete explanations of images for people.
func WriteText(w io.Writer, images []Image) error {
	for _, i := range images {
		if err := i.writeText(w); err != nil {
			return err
		}
	}
	return nil
}

func (i *Image) writeText(w io.Writer) error {
	// Each image has a table of its own, so that a long name does not widen the others. Only the
	// first two columns are aligned, so that a long reference does not widen the other lines.
	rows, subjects, states := i.Rows(), 0, 0
	for _, r := range rows {
		subjects = max(subjects, utf8.RuneCountInString(r.Subject))
		states = max(states, utf8.RuneCountInString(r.State))
	}
	text := i.Image + "\n"
	for _, r := range rows {
		about := strings.TrimSpace(r.Reference + "  " + r.Detail)
		line := fmt.Sprintf("  %-*s  %-*s  %s", subjects, r.Subject, states, r.State, shortenDigests(about))
		text += strings.TrimRight(line, " ") + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

var digest = regexp.MustCompile(`\b(sha\d+:[0-9a-f]{12})[0-9a-f]{20,}`)

// shortenDigests leaves 12 digits of each digest, which identify an image on a node.
func shortenDigests(text string) string { return digest.ReplaceAllString(text, "$1") }

// Row is a line of an explanation: the name, a registry, the runtime, or the result.
type Row struct{ Subject, State, Reference, Detail string }

// rows collects the rows of an explanation.
type rows []Row

// Rows returns the explanation as text.
func (i *Image) Rows() []Row {
	table := new(rows)
	if i.Problem != "" {
		row(table, "means", "", i.Problem, "")
	} else {
		row(table, "means", "", i.Reference, "")
	}
	for _, r := range i.Registries {
		row(table, r.Registry, cmp.Or(r.Answer, "not asked"), cmp.Or(r.Reference, "-"), r.detail())
	}
	row(table, "names", "", i.Node.Names.modeText(), i.Node.Names.detail())
	i.Node.write(table)
	row(table, "pulled as", "", cmp.Or(i.Pulled, "-"), i.outcome())
	return *table
}

func row(table *rows, subject, state, reference, detail string) {
	*table = append(*table, Row{subject, state, reference, detail})
}

// detail returns the rule and the details of an answer. The cause of a failure comes first.
func (r *Registry) detail() string {
	text := r.Rule
	if r.Answer == "" {
		return text
	}
	if r.Reason != "" {
		text = r.Reason + "; " + text
	}
	if r.Digest != "" {
		text += "; " + r.Digest
	}
	switch {
	case r.Left > 0:
		text += fmt.Sprintf("; cached %s ago, expires in %s; --fresh asks now", seconds(r.Age), seconds(r.Left))
	case r.Cached:
		text += "; no request sent"
	default:
		text += fmt.Sprintf("; request sent, %s", time.Duration(r.Seconds*float64(time.Second)).Round(time.Millisecond/10))
	}
	if r.Circuit != "closed" && r.Circuit != r.Reason {
		text += "; " + r.Circuit
	}
	return text
}

// seconds formats a number of seconds without decimal places.
func seconds(n float64) string {
	return time.Duration(n * float64(time.Second)).Round(time.Second).String()
}

// modeText returns the place of the names as text.
func (n Naming) modeText() string {
	switch naming.Mode(n.Mode) {
	case naming.InRuntime:
		return "kept by containerd"
	case naming.InLedger:
		return "kept in the shim's ledger"
	default:
		return "unknown"
	}
}

// detail returns the reason for the mode, unless the runtime keeps the names as usual, and the
// number of repositories with names that could not be changed.
func (n Naming) detail() string {
	var parts []string
	switch {
	case n.Stale:
		parts = append(parts, "last known; the runtime does not answer")
	case n.Mode != string(naming.InRuntime):
		parts = append(parts, n.Reason)
	}
	if n.Repairs > 0 {
		parts = append(parts, fmt.Sprintf("some names could not be changed, retrying; repositories affected: %d", n.Repairs))
	}
	return strings.Join(parts, "; ")
}

func (n *Node) write(table *rows) {
	if n.Ledger != nil {
		row(table, "ledger", "has", n.Ledger.Stored, fmt.Sprintf("%s, from %s, %s%s", n.Ledger.Image,
			cmp.Or(n.Ledger.Registry, "the original registry"), n.Ledger.At.Local().Format(time.DateTime), n.pendingText()))
	}
	for _, p := range n.Runtime {
		switch {
		case p.Problem != "":
			row(table, "runtime", "unknown", p.Reference, p.Problem)
		case p.Hidden:
			row(table, "runtime", "hidden", p.Reference, p.Image+", pulled for another name")
		case p.Image == "":
			row(table, "runtime", "absent", p.Reference, "")
		default:
			row(table, "runtime", "has", p.Reference, p.Image)
		}
	}
	switch {
	case n.Problem != "":
		row(table, "on the node", "unknown", "-", n.Problem)
	case n.Served == "":
		row(table, "on the node", "absent", "-", "")
	default:
		row(table, "on the node", "found", n.Served, n.Reason)
	}
}

// pendingText returns a note for a name that is in the ledger but should be in the runtime.
func (n *Node) pendingText() string {
	if n.Names.Mode == string(naming.InRuntime) {
		return "; the runtime does not have this name yet"
	}
	return ""
}

// outcome explains the reference that a pull requests from the runtime.
func (i *Image) outcome() string {
	switch {
	case i.Pulled == "" && !i.wasAsked():
		return i.notAskedReason() + ", and the original registry is not used (fallback: never)"
	case i.Pulled == "" && i.HasFailures():
		return "no registry confirms that it has the image, and the original registry is not used (fallback: never)"
	case i.Pulled == "":
		return "no registry serves the image, and the original registry is not used (fallback: never)"
	case i.Problem != "":
		return "forwarded unchanged"
	case i.Registry == "" && !i.wasAsked():
		return "the requested name: " + i.notAskedReason()
	case i.Registry == "" && i.hasLastResort():
		return "the requested name: the registry that has the image comes after the original"
	case i.Registry == "" && i.HasFailures():
		return "the requested name: no registry confirms that it has the image"
	case i.Registry == "":
		return "the requested name: no registry has the image"
	case i.User == "":
		return "without credentials"
	default:
		return "with the credentials of " + i.User
	}
}

// wasAsked reports whether any configured registry was asked for the image.
func (i *Image) wasAsked() bool {
	return slices.ContainsFunc(i.Registries, func(r Registry) bool { return r.Answer != "" })
}

// notAskedReason returns why no registry is asked.
func (i *Image) notAskedReason() string {
	if len(i.Registries) == 0 {
		return "no registry is configured"
	}
	return "no registry is configured for this image"
}

// WriteSummary writes one line per image with the registry that would serve it. If the origin
// of any image on the node is known, a further column shows the registry that each image came
// from.
func WriteSummary(w io.Writer, images []Image) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	private := 0
	origins := slices.ContainsFunc(images, func(i Image) bool { return i.Node.Registry != "" || i.Node.Problem != "" })
	column := func(text string) string {
		if !origins {
			return ""
		}
		return "\t" + text
	}
	fmt.Fprintf(table, "IMAGE\tSERVED BY\tAS%s\n", column("ON THE NODE"))
	for _, i := range images {
		if i.Registry != "" {
			private++
		}
		fmt.Fprintln(table, shortenDigests(fmt.Sprintf("%s\t%s\t%s%s", i.Image, i.servedBy(), cmp.Or(i.Pulled, "-"), column(i.Node.origin()))))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d of %d would be served by a private registry\n", private, len(images))
	return err
}

// servedBy returns a short text for the registry that would serve a pull.
func (i *Image) servedBy() string {
	switch {
	case i.Registry != "":
		return i.Registry
	case i.Problem != "":
		return "- (" + i.Problem + ")"
	case i.Fallback == string(registry.FallbackNever) && i.HasFailures():
		return "none (a registry could not be asked)"
	case i.Fallback == string(registry.FallbackNever):
		return "none"
	case i.hasLastResort():
		return "the original (a registry that has the image comes after it)"
	case i.HasFailures():
		return "the original (a registry could not be asked)"
	default:
		return "the original"
	}
}

// origin returns the registry that the image on the node came from.
func (n *Node) origin() string {
	switch {
	case n.Problem != "":
		return "unknown"
	case n.Served == "":
		return "-"
	}
	if n.Registry != "" {
		return "from " + n.Registry
	}
	return n.Reason
}
