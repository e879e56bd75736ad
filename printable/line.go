// Package printable makes untrusted text safe to print in logs, terminals and tables.
package printable

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const ellipsis = "..."

// Line returns text as one line of valid UTF-8 with at most limit bytes. Each run of line
// breaks, tabs and unprintable characters becomes one blank, and blanks at the start and the
// end are removed. Other blanks stay: a path may contain two of them. A text that is cut ends
// with an ellipsis, for which limit must have room.
func Line(text string, limit int) string {
	line := join(text)
	if len(line) > limit {
		line = strings.ToValidUTF8(line[:limit-len(ellipsis)], "") + ellipsis
	}
	return line
}

// End is like [Line], but cuts the beginning: the cause of an error is at its end.
func End(text string, limit int) string {
	line := join(text)
	if len(line) > limit {
		line = ellipsis + strings.ToValidUTF8(line[len(line)-limit+len(ellipsis):], "")
	}
	return line
}

// join returns text as one line.
func join(text string) string {
	valid := strings.ToValidUTF8(text, string(utf8.RuneError))
	return strings.Trim(strings.Join(strings.FieldsFunc(valid, isUnprintable), " "), " ")
}

func isUnprintable(r rune) bool { return !unicode.IsPrint(r) }

// Error returns the text of err in the form of [Line]. Lines, such as those of [errors.Join],
// are separated by semicolons.
func Error(err error, limit int) string {
	return Line(strings.ReplaceAll(err.Error(), "\n", "; "), limit)
}
