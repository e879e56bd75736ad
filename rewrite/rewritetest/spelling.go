// Package rewritetest holds fixtures that the tests of several packages share.
package rewritetest

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Spelling is a line of testdata/references.txt: a string that a client may send as an
// image name, and its meaning.
type Spelling struct {
	Line    string // number of the line
	Asked   string
	Meaning string // the original reference, or MeansID or MeansNothing
}

// Meanings of strings that are not image names.
const MeansID, MeansNothing = "ID", "malformed"

// Spellings reads testdata/references.txt. path is relative to the directory of the test.
// The file describes its format.
func Spellings(t testing.TB, path string) []Spelling {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []Spelling
	for i, line := range strings.Split(string(content), "\n") {
		columns := strings.Fields(line)
		if len(columns) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if len(columns) != 2 {
			t.Fatalf("line %d has %d columns", i+1, len(columns))
		}
		all = append(all, Spelling{Line: strconv.Itoa(i + 1), Asked: spelled(t, columns[0]), Meaning: spelled(t, columns[1])})
	}
	if len(all) < 200 {
		t.Fatalf("%d lines", len(all))
	}
	return all
}

var repetition = regexp.MustCompile(`\{([^{}]+)\*(\d+)\}`)

func spelled(t testing.TB, written string) string {
	t.Helper()
	if written == `""` {
		return ""
	}
	repeated := repetition.ReplaceAllStringFunc(written, func(match string) string {
		parts := repetition.FindStringSubmatch(match)
		count, err := strconv.Atoi(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		return strings.Repeat(parts[1], count)
	})
	text, err := strconv.Unquote(`"` + repeated + `"`)
	if err != nil {
		t.Fatalf("%s: %v", written, err)
	}
	return text
}
