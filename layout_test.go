package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestHelperFiles requires that a test file without a test, in any of the modules, is named
// for that: *_helpers_test.go.
func TestHelperFiles(t *testing.T) {
	tests := regexp.MustCompile(`(?m)^func (Test|Benchmark|Fuzz|Example)`)
	err := filepath.WalkDir(".", func(file string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		source, err := os.ReadFile(file)
		if err == nil && tests.Match(source) == strings.HasSuffix(file, "helpers_test.go") {
			t.Errorf("%s: only files without a test are named *_helpers_test.go", file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
