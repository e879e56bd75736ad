package trace

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// columnFormat sets column widths that fit most events.
const columnFormat = "%-12s  %-18s  %-24s  %9s  %-16s  %7s  %8s"

// WriteTextHeader writes the column titles for [WriteText].
func WriteTextHeader(w io.Writer) error {
	_, err := fmt.Fprintf(w, columnFormat+"  DETAILS\n", "TIME", "CLIENT", "METHOD", "DURATION", "CODE", "REQUEST", "RESPONSE")
	return err
}

// WriteText writes an event as human-readable text: a line, followed by the event's
// messages. Times are local.
func WriteText(w io.Writer, e Event) error {
	var text strings.Builder
	switch e.Kind {
	case KindLost:
		fmt.Fprintf(&text, "%-12s  %d %s lost: the reader was too slow\n", formatClock(e.Time), e.Lost, plural(e.Lost))
	case KindMessage:
		writeLine(&text, e, "-", "message", "-")
	default:
		writeLine(&text, e, formatDuration(e.Seconds), e.Code, formatSize(e.RequestBytes))
	}
	writeBody(&text, "request", e.Request)
	writeBody(&text, "response", e.Response)
	_, err := io.WriteString(w, text.String())
	return err
}

func writeLine(text *strings.Builder, e Event, took, code, request string) {
	start := fmt.Sprintf(columnFormat, formatClock(e.Time), replaceUnprintable(e.Client.text()), replaceUnprintable(shortMethod(e.Method)), took, replaceUnprintable(code), request, formatSize(e.ResponseBytes))
	text.WriteString(start)
	if about := replaceUnprintable(e.describe()); about != "" {
		text.WriteString("  " + about)
	}
	text.WriteByte('\n')
	if tried := replaceUnprintable(e.tried()); tried != "" {
		text.WriteString("  tried before: " + tried + "\n")
	}
}

// triedBefore separates the reason of a decision from the registries that were tried before.
const triedBefore = "; tried before: "

// tried returns the registries that were tried by a call that failed.
func (e *Event) tried() string {
	for _, d := range e.Decisions {
		if _, tried, found := strings.Cut(d.Reason, triedBefore); found && e.Code != "OK" {
			return tried
		}
	}
	return ""
}

func plural(events int64) string {
	if events == 1 {
		return "event"
	}
	return "events"
}

func formatClock(at time.Time) string { return at.Local().Format("15:04:05.000") }

// text returns the process's name and ID, "-" if they are unknown.
func (c *Client) text() string {
	switch {
	case c == nil || c.Process <= 0:
		return "-"
	case c.Name == "":
		return fmt.Sprintf("[%d]", c.Process)
	default:
		return fmt.Sprintf("%s[%d]", c.Name, c.Process)
	}
}

// describe returns the text of the last column: subject, decisions and error, without the
// registries that tried returns.
func (e *Event) describe() string {
	var parts []string
	tried := e.tried()
	if subject := strings.Trim(e.Pod+" "+e.Container, " "); subject != "" {
		parts = append(parts, subject)
	}
	parts = append(parts, e.Images...)
	for _, d := range e.Decisions {
		if len(e.Images) == 0 && d.Asked != "" { // a call from the shim's memory
			parts = append(parts, d.Asked)
		}
		if d.Served != "" && d.Served != d.Asked {
			parts = append(parts, "as "+d.Served)
		}
		if d.Registry != "" {
			parts = append(parts, "from "+d.Registry)
		}
		if reason := d.Reason; reason != "" {
			if tried != "" { // on a line of its own
				reason, _, _ = strings.Cut(reason, triedBefore)
			}
			parts = append(parts, "("+reason+")")
		}
		switch d.Names {
		case "":
		case "runtime":
			parts = append(parts, "named in the runtime")
		default:
			parts = append(parts, "name kept in the "+d.Names)
		}
	}
	if text := e.Error; text != "" {
		if tried != "" { // the shim has appended them
			text, _, _ = strings.Cut(text, "; image-cri-shim ")
			text, _, _ = strings.Cut(text, ", tried: ")
		}
		parts = append(parts, "error: "+text)
	}
	return strings.Join(parts, "  ")
}

// maxIndentedBytes limits the size of an indented message. Indenting a deep message with
// many elements would make it thousands of times as long.
const maxIndentedBytes = 64 << 20

func writeBody(text *strings.Builder, title string, body json.RawMessage) {
	if len(body) == 0 {
		return
	}
	var indented bytes.Buffer
	if len(body)*(4+depth(body)) > maxIndentedBytes {
		indented.Write(body)
	} else if json.Indent(&indented, body, "    ", "  ") != nil {
		return
	}
	fmt.Fprintf(text, "  %s\n    ", title)
	for l := range strings.Lines(indented.String()) {
		end := strings.TrimRight(l, "\n")
		text.WriteString(replaceUnprintable(end))
		text.WriteString(l[len(end):])
	}
	text.WriteByte('\n')
}

// depth returns the nesting depth of a JSON text.
func depth(text []byte) int {
	deepest, level, quoted := 0, 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case !quoted && (c == '{' || c == '['):
			level++
			deepest = max(deepest, level)
		case !quoted && (c == '}' || c == ']'):
			level--
		}
	}
	return deepest
}

// replaceUnprintable replaces characters that would break a line or control a terminal.
func replaceUnprintable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}
