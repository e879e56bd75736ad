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

// columns are the widths that most events keep to.
const columns = "%-12s  %-18s  %-24s  %9s  %-16s  %7s  %7s"

// WriteTextHeader writes what is above the lines of WriteText.
func WriteTextHeader(w io.Writer) error {
	_, err := fmt.Fprintf(w, columns+"  ABOUT\n", "TIME", "CLIENT", "METHOD", "DURATION", "CODE", "REQUEST", "ANSWER")
	return err
}

// WriteText writes an event for people: a line, and its messages, if it has them, below.
// Times are those of the reader's place.
func WriteText(w io.Writer, e Event) error {
	var text strings.Builder
	switch e.Kind {
	case KindLost:
		fmt.Fprintf(&text, "%-12s  %d events were lost: they came faster than they were read\n", clock(e.Time), e.Lost)
	case KindMessage:
		line(&text, e, "-", "message", "-")
	default:
		line(&text, e, duration(e.Seconds), e.Code, size(e.RequestBytes))
	}
	writeBody(&text, "request", e.Request)
	writeBody(&text, "response", e.Response)
	_, err := io.WriteString(w, text.String())
	return err
}

func line(text *strings.Builder, e Event, took, code, request string) {
	start := fmt.Sprintf(columns, clock(e.Time), clean(e.Client.text()), clean(shortMethod(e.Method)), took, clean(code), request, size(e.ResponseBytes))
	text.WriteString(start)
	if about := clean(e.about()); about != "" {
		text.WriteString("  " + about)
	}
	text.WriteByte('\n')
}

func clock(at time.Time) string { return at.Local().Format("15:04:05.000") }

// text is a process's name and identifier.
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

// about is what a call was for, and what became of it.
func (e *Event) about() string {
	var parts []string
	if subject := strings.Trim(e.Pod+" "+e.Container, " "); subject != "" {
		parts = append(parts, subject)
	}
	parts = append(parts, e.Images...)
	for _, d := range e.Decisions {
		if d.Served != "" && d.Served != d.Asked {
			parts = append(parts, "as "+d.Served)
		}
		if d.Registry != "" {
			parts = append(parts, "from "+d.Registry)
		}
		if d.Reason != "" {
			parts = append(parts, "("+d.Reason+")")
		}
		switch d.Names {
		case "":
		case "runtime":
			parts = append(parts, "named in the runtime")
		default:
			parts = append(parts, "name kept in the "+d.Names)
		}
	}
	if e.Error != "" {
		parts = append(parts, "error: "+e.Error)
	}
	return strings.Join(parts, "  ")
}

// longestIndented bounds, in bytes, what a message may become by being indented: a deep
// one that has many elements would be thousands of times as long.
const longestIndented = 64 << 20

func writeBody(text *strings.Builder, title string, body json.RawMessage) {
	if len(body) == 0 {
		return
	}
	var indented bytes.Buffer
	if len(body)*(4+depth(body)) > longestIndented {
		indented.Write(body)
	} else if json.Indent(&indented, body, "    ", "  ") != nil {
		return
	}
	fmt.Fprintf(text, "  %s\n    ", title)
	for l := range strings.Lines(indented.String()) {
		end := strings.TrimRight(l, "\n")
		text.WriteString(clean(end))
		text.WriteString(l[len(end):])
	}
	text.WriteByte('\n')
}

// depth is how many levels a JSON text has.
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

// clean keeps a text on its line, and from moving a terminal's cursor.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}
