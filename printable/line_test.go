package printable

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "",
		"a b":                  "a b",
		" a\r\n\tb  c\n":       "a b  c", // two blanks may be part of a path
		"\x1b[2Jon\x00\u202ea": "[2Jon a",
		"a\xffb":               "a\ufffdb",
		"0123456789":           "0123456789",
		"0123456789a":          "0123456...",
		"012345üüü":            "012345...", // not half an ü
	} {
		if got := Line(text, 10); got != want {
			t.Errorf("Line(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestEnd(t *testing.T) {
	for text, want := range map[string]string{
		"a\nb":        "a b",
		"0123456789":  "0123456789",
		"0123456789a": "...456789a",
		"üüü012345":   "...012345", // not half an ü
		"a\xffb":      "a\ufffdb",
	} {
		if got := End(text, 10); got != want {
			t.Errorf("End(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestError(t *testing.T) {
	err := errors.Join(errors.New("first"), errors.New("second"))
	if got, want := Error(err, 100), "first; second"; got != want {
		t.Errorf("Error = %q, want %q", got, want)
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\nb\x00ü\xff", uint8(4))
	f.Add(strings.Repeat("ü ", 200), uint8(100))
	f.Fuzz(func(t *testing.T, text string, extra uint8) {
		limit := len(ellipsis) + int(extra)
		line := Line(text, limit)
		if len(line) > limit || !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return r != ' ' && isUnprintable(r) }) {
			t.Errorf("Line(%q, %d) = %q", text, limit, line)
		}
		if again := Line(line, limit); again != line {
			t.Errorf("Line(%q) = %q, and once more %q", text, line, again)
		}
	})
}
