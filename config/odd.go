package config

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"
)

// oddNames are the names of characters that look like others or like nothing.
var oddNames = map[rune]string{
	'\u00a0': "a no-break space",
	'\u200b': "a zero-width space",
	'\u200c': "a zero-width non-joiner",
	'\u200d': "a zero-width joiner",
	'\u2060': "a word joiner",
	'\u3000': "a full-width space",
	'\ufeff': "a byte order mark",
	'：':      "a full-width colon",
	'，':      "a full-width comma",
	'“':      "a typographic quote",
	'”':      "a typographic quote",
	'„':      "a typographic quote",
	'‘':      "a typographic quote",
	'’':      "a typographic quote",
	'‚':      "a typographic quote",
	'«':      "a typographic quote",
	'»':      "a typographic quote",
}

// odd describes the first character of text that is invisible, or that looks like one of ASCII
// and is not, such as a typographic quote or a full-width colon. It returns "" if there is none.
func odd(text string) string {
	for _, r := range text {
		if isOdd(r) {
			name := cmp.Or(oddNames[r], "an invisible or full-width character")
			return fmt.Sprintf("%s (U+%04X)", name, r)
		}
	}
	return ""
}

func isOdd(r rune) bool {
	invisible := unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zs, r) && r != ' '
	fullWidth := r >= '\uff01' && r <= '\uff5e'
	return invisible || fullWidth || oddNames[r] != ""
}

// withoutOdd returns text without the characters that [odd] describes.
func withoutOdd(text string) string {
	return strings.Map(func(r rune) rune {
		if isOdd(r) {
			return -1
		}
		return r
	}, text)
}

// oddHint returns a hint for a value that is refused because of an odd character, or "".
func oddHint(v value) string {
	if name := odd(v.node.Value); name != "" {
		return "; the value contains " + name
	}
	return ""
}
