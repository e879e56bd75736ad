package redact

import (
	"strings"
	"testing"
)

// TestValuesInLinearTime requires that a text with many values is scanned about once, not
// from each value to the end.
func TestValuesInLinearTime(t *testing.T) {
	for _, unit := range []string{`pwd=`, `pwd="`, `pwd='`, `pwd='pwd="`, `pwd=\"pwd="`, `pwd="pwd=\"`, `pwd=\"pwd=\\\"`, `pwd= `, `a=\`} {
		text := strings.Repeat(unit, maxTextBytes/len(unit)) + " end"
		var starts []int
		for i := range text {
			if i > 0 && text[i-1] == '=' {
				starts = append(starts, i)
			}
		}
		looked := 0
		maskValuesAt(text, starts, func(text string) int {
			length := valueLength(text)
			looked += length
			return length
		})
		if looked > 3*len(text) {
			t.Errorf("%q: %d bytes were looked at, of a text of %d", unit, looked, len(text))
		}
	}
}
