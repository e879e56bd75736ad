package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDependenciesAreListed requires that docs/dependencies.md lists exactly the modules that
// each go.mod requires directly, including tools.
func TestDependenciesAreListed(t *testing.T) {
	const list = "docs/dependencies.md"
	content, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	sections := make(map[string]string)
	for section := range strings.SplitSeq(string(content), "\n## ") {
		file, rows, _ := strings.Cut(section, "\n")
		sections[file] = rows
	}
	for _, file := range []string{"go.mod", "e2e/go.mod", "e2e/critest/go.mod", "bench/go.mod", "packaging/tools/go.mod", "e2e/foreign/tools/go.mod"} {
		wanted := directRequirements(t, file)
		for _, row := range regexp.MustCompile(`(?m)^\| (\S+) \|(.*\S.*\|){4}$`).FindAllStringSubmatch(sections[file], -1) {
			module := row[1]
			if module == "module" {
				continue
			}
			if !wanted[module] {
				t.Errorf("%s lists %s, which %s does not require directly, or twice", list, module, file)
			}
			delete(wanted, module)
		}
		for module := range wanted {
			t.Errorf("%s: add a row of 5 columns for %s, which %s requires", list, module, file)
		}
	}
}

// directRequirements returns the modules that a go.mod requires without `// indirect`, and
// the modules of its tools.
func directRequirements(t *testing.T, file string) map[string]bool {
	t.Helper()
	content, err := os.ReadFile(filepath.FromSlash(file))
	if err != nil {
		t.Fatal(err)
	}
	tools := regexp.MustCompile(`(?m)^(?:tool |\t)(\S+/cmd/\S+)$`).FindAllStringSubmatch(string(content), -1)
	direct := make(map[string]bool)
	for _, requirement := range regexp.MustCompile(`(?m)^(?:require |\t)(\S+) v\S+( // indirect)?$`).FindAllStringSubmatch(string(content), -1) {
		module, indirect := requirement[1], requirement[2] != ""
		for _, tool := range tools {
			indirect = indirect && !strings.HasPrefix(tool[1], module+"/")
		}
		if !indirect {
			direct[module] = true
		}
	}
	return direct
}
