package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNeedsAreAnswered requires that docs/needs.md has its 25 rows, and that each
// test it names exists.
func TestNeedsAreAnswered(t *testing.T) {
	needs, err := os.ReadFile("docs/needs.md")
	if err != nil {
		t.Fatal(err)
	}
	if rows := len(regexp.MustCompile(`(?m)^\| \d+ \|`).FindAll(needs, -1)); rows != 25 {
		t.Errorf("docs/needs.md has %d rows, want 25", rows)
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
	for _, name := range regexp.MustCompile("`(Test\\w+)`").FindAllSubmatch(needs, -1) {
		if !strings.Contains(tests.String(), "\nfunc "+string(name[1])+"(") {
			t.Errorf("docs/needs.md names %s, which does not exist", name[1])
		}
	}
}
