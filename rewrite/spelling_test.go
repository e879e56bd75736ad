package rewrite

import (
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/distribution/reference"
)

// spelling is a line of testdata/references.txt: what a client may write in the
// place of an image's name.
type spelling struct {
	line    string // its number
	asked   string
	meaning string // the original reference, or one of the following
}

const meansID, meansNothing = "ID", "malformed"

// spellings reads testdata/references.txt, which says how it is written.
func spellings(t testing.TB) []spelling {
	t.Helper()
	content, err := os.ReadFile("../testdata/references.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []spelling
	for i, line := range strings.Split(string(content), "\n") {
		columns := strings.Fields(line)
		if len(columns) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if len(columns) != 2 {
			t.Fatalf("line %d has %d columns", i+1, len(columns))
		}
		all = append(all, spelling{line: strconv.Itoa(i + 1), asked: spelled(t, columns[0]), meaning: spelled(t, columns[1])})
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

// TestParse requires of each spelling the meaning that the table gives, and that
// containerd's reading (ParseDockerRef) is the same where it is a name or nothing.
func TestParse(t *testing.T) {
	for _, s := range spellings(t) {
		name, err := Parse(s.asked)
		theirs, theirErr := reference.ParseDockerRef(s.asked)
		ok := false
		switch s.meaning {
		case meansID:
			ok = errors.Is(err, ErrImageID)
		case meansNothing:
			// To distribution/reference a host with "_" is none.
			ok = err != nil && !errors.Is(err, ErrImageID) && (theirErr != nil || reference.Domain(theirs) == "")
		default:
			ok = err == nil && theirErr == nil && name.String() == s.meaning && theirs.String() == s.meaning
		}
		if !ok {
			t.Errorf("line %s: %.80q means %.80v (%.200v), and %.80v (%.200v) to containerd; want %.80s", s.line, s.asked, name, err, theirs, theirErr, s.meaning)
		}
	}
}
