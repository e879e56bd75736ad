package doctor

import (
	"fmt"
	"strings"

	"image-cri-shim/printable"
)

// Level is the severity of a finding.
type Level int

const (
	OK   Level = iota
	Warn       // works, but not as it should, or can't be checked
	Fail
)

// String returns OK, WARN or FAIL.
func (l Level) String() string { return [...]string{"OK", "WARN", "FAIL"}[l] }

// MarshalText implements [encoding.TextMarshaler].
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Finding is a result of a check.
type Finding struct {
	Check    string   `json:"check"`
	Subject  string   `json:"subject"` // a file, a socket, a registry's address, an image
	Level    Level    `json:"level"`
	Text     string   `json:"text"`
	Hint     string   `json:"hint,omitempty"`     // remedy; always set if Level is not OK
	Commands []string `json:"commands,omitempty"` // shell commands in Hint

	consequence string // for the node; empty: that of the check (verdict.go)
}

// topic is the check and the subject of a finding.
type topic struct{ check, subject string }

func (t topic) ok(format string, values ...any) Finding {
	return t.finding(OK, "", format, values)
}

// warn returns a finding of level Warn. Shell commands in hint are in backquotes, which the
// finding does not contain.
func (t topic) warn(hint, format string, values ...any) Finding {
	return t.finding(Warn, hint, format, values)
}

// fail returns a finding of level Fail. hint is as for [topic.warn].
func (t topic) fail(hint, format string, values ...any) Finding {
	return t.finding(Fail, hint, format, values)
}

func (t topic) finding(level Level, hint, format string, values []any) Finding {
	f := Finding{Check: t.check, Subject: printable.Line(t.subject, lineLimit), Level: level, Text: printable.Line(fmt.Sprintf(format, values...), lineLimit)}
	parts := strings.Split(printable.Line(hint, lineLimit), "`")
	for i := 1; i < len(parts)-1; i += 2 {
		f.Commands = append(f.Commands, parts[i])
	}
	f.Hint = strings.Join(parts, "")
	return f
}

// lineLimit bounds the texts of a finding, in bytes.
const lineLimit = 1000

// rootHint is the remedy if the current user has no access.
const rootHint = "run the doctor as root"
