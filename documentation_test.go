package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNeedsAreAnswered requires that docs/needs.md has at least its first 25 rows, that
// each row names a test, and that each test it names exists.
func TestNeedsAreAnswered(t *testing.T) {
	needs, err := os.ReadFile("docs/needs.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| \d+ \|.*$`).FindAllString(string(needs), -1)
	if len(rows) < 25 {
		t.Errorf("docs/needs.md has %d rows, want at least 25", len(rows))
	}
	for i, row := range rows {
		cells := strings.Split(row, " | ")
		if !strings.Contains(cells[len(cells)-1], "`Test") {
			t.Errorf("row names no test: %s", row)
		}
		if number := fmt.Sprintf("| %d |", i+1); !strings.HasPrefix(row, number) {
			t.Errorf("row %d has another number: %s", i+1, row)
		}
	}
	wantTests(t, "docs/needs.md")
}

// TestSecurityClaimsAreTested requires that each row of the tables before the bounds in
// docs/security.md names a test in its last cell, and that each test it names exists.
func TestSecurityClaimsAreTested(t *testing.T) {
	security, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	claims, _, _ := strings.Cut(string(security), "## Bounds")
	rows := regexp.MustCompile(`(?m)^\| [^|]+ \| .*\|$`).FindAllString(claims, -1)
	if len(rows) < 30 {
		t.Errorf("docs/security.md has %d rows of claims, want at least 30", len(rows))
	}
	for _, row := range rows {
		cells := strings.Split(row, " | ")
		if last := cells[len(cells)-1]; !strings.Contains(last, "`Test") && last != "tests |" {
			t.Errorf("row names no test: %s", row)
		}
	}
	wantTests(t, "docs/security.md")
}

// TestNamesAreTested requires that each test which docs/names.md names exists.
func TestNamesAreTested(t *testing.T) { wantTests(t, "docs/names.md") }

// wantTests requires that each test which a document names exists.
func wantTests(t *testing.T, document string) {
	t.Helper()
	content, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	err = filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		tests.Write(source)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile("`(Test\\w+)`").FindAllSubmatch(content, -1) {
		if !strings.Contains(tests.String(), "\nfunc "+string(name[1])+"(") {
			t.Errorf("%s names %s, which does not exist", document, name[1])
		}
	}
}

// TestTranslation requires that each Chinese document shows the same commands, keys, values,
// links and rows as the English one, and so is not older. A link leads to the Chinese version
// of a document if there is one.
func TestTranslation(t *testing.T) {
	documents, err := filepath.Glob("docs/*.zh-CN.md")
	if err != nil || len(documents) < 3 {
		t.Fatalf("found %q (%v), want at least 3 Chinese documents", documents, err)
	}
	for _, document := range append(documents, "README.zh-CN.md") {
		original := strings.Replace(document, ".zh-CN", "", 1)
		english, chinese := shape(t, original), shape(t, document)
		for piece, count := range english {
			if chinese[piece] != count {
				t.Errorf("%s: %d times in %s, %d times in %s", piece, count, original, chinese[piece], document)
			}
		}
		for piece, count := range chinese {
			if english[piece] == 0 {
				t.Errorf("%s: %d times in %s, never in %s", piece, count, document, original)
			}
		}
		for _, link := range regexp.MustCompile(`\]\(([^)#\s]+)\.md`).FindAllSubmatch(readFile(t, document), -1) {
			target := filepath.Join(filepath.Dir(document), string(link[1]))
			if _, err := os.Stat(target + ".zh-CN.md"); err == nil && target+".md" != original {
				t.Errorf("%s links to %s.md instead of its Chinese version", document, target)
			}
		}
	}
}

func readFile(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// shape counts what stays the same when a text is translated.
func shape(t *testing.T, file string) map[string]int {
	t.Helper()
	content := strings.ReplaceAll(string(readFile(t, file)), ".zh-CN.md", ".md")
	count := make(map[string]int)
	for _, pattern := range []string{
		"`[^`\n]+`",         // code
		`\]\([a-zA-Z][^)]+`, // links
		`(?m)^#+ |^\| |^- `, // headings, rows and items
		`(?m)^[a-z][^#│\n]*[a-z0-9] +# |^(?:make|systemctl) .*[^# ]$`, // commands
	} {
		for _, piece := range regexp.MustCompile(pattern).FindAllString(content, -1) {
			count[strings.Join(strings.Fields(piece), " ")]++
		}
	}
	return count
}

// TestLinks requires that each relative link in the documents leads to a file, and to a
// heading of it if it has an anchor.
func TestLinks(t *testing.T) {
	documents, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	links := 0
	for _, document := range append(documents, "README.md", "README.zh-CN.md", "bench/README.md") {
		content, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllSubmatch(content, -1) {
			target, anchor, _ := strings.Cut(string(link[1]), "#")
			if strings.Contains(target, "://") {
				continue
			}
			links++
			file := document
			if target != "" {
				file = filepath.Join(filepath.Dir(document), target)
			}
			linked, err := os.ReadFile(file)
			if err != nil {
				t.Errorf("%s links to %s: %v", document, link[1], err)
			} else if anchor != "" && !hasHeading(string(linked), anchor) {
				t.Errorf("%s links to %s, which has no such heading", document, link[1])
			}
		}
	}
	if links < 80 {
		t.Errorf("found %d links, want at least 80", links)
	}
}

// hasHeading reports whether a document has a heading that GitHub gives the anchor.
func hasHeading(document, anchor string) bool {
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(document, -1) {
		text := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		if strings.ReplaceAll(text, " ", "-") == anchor {
			return true
		}
	}
	return false
}
