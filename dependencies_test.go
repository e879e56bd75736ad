package main

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDependenciesAreListed requires that docs/dependencies.md lists exactly the modules that
// each go.mod in this repository requires directly, including tools.
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
	for _, file := range moduleFiles(t) {
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

// moduleFiles returns the paths of all go.mod files.
func moduleFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "go.mod" {
			files = append(files, filepath.ToSlash(file))
		}
		return err
	})
	if err != nil || len(files) < 8 {
		t.Fatalf("found the modules %q (%v), want at least 8", files, err)
	}
	return files
}

// TestModulesAreChecked requires that the Makefile checks and tests each module, except those
// of tools and the components of the cluster.
func TestModulesAreChecked(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`(?m)^modules = (.*)$`).FindSubmatch(makefile)
	if list == nil {
		t.Fatal("the Makefile has no list of modules")
	}
	checked := strings.Fields(string(list[1]))
	for _, file := range moduleFiles(t) {
		folder := path.Dir(file)
		excluded := strings.HasSuffix(folder, "/tools") || folder == "e2e/cluster/components"
		if slices.Contains(checked, folder) == excluded {
			t.Errorf("the Makefile checks the modules %q; is %s among them: %v, want %v", checked, folder, excluded, !excluded)
		}
		if tested := regexp.MustCompile(`(?m)^\tcd ` + folder + ` && .*go test `).Match(makefile); !tested && !excluded && folder != "." {
			t.Errorf("no target of the Makefile tests %s", folder)
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
