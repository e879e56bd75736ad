package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// wantDocuments requires that the targets of the links in a folder's documents exist.
func wantDocuments(t *testing.T, folder string) {
	t.Helper()
	var documents []string
	for _, pattern := range []string{"README*.md", "docs/*.md"} {
		found, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil || len(found) < 2 {
			t.Fatalf("%s: found %q of %s (%v)", folder, found, pattern, err)
		}
		documents = append(documents, found...)
	}
	for _, document := range documents {
		for _, link := range submatches(`(?:\]\(|src=")([^)":]+)[)"]`, readFile(t, document)) {
			file, _, _ := strings.Cut(link, "#")
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), file)); err != nil {
				t.Errorf("%s links to %s: %v", document, link, err)
			}
		}
	}
}

// TestPackageDocuments checks the links in the documents of the tar.gz and of make install, and
// the manual page and the completions of make install.
// TestPackageOnAMachine checks those of the deb and the rpm.
func TestPackageDocuments(t *testing.T) {
	first, _ := needPackages(t)
	t.Run("tar.gz", func(t *testing.T) { wantDocuments(t, unpack(t, first)) })
	t.Run("make install", func(t *testing.T) {
		tree, root := t.TempDir(), t.TempDir()
		copyTree(t, "..", tree)
		if err := os.MkdirAll(filepath.Join(tree, "bin"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(shared.shim, filepath.Join(tree, "bin/image-cri-shim")); err != nil {
			t.Fatal(err)
		}
		command := exec.CommandContext(testContext(t), "make", "install", "DESTDIR="+root)
		command.Dir = tree
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("make install: %v\n%s", err, output)
		}
		wantDocuments(t, filepath.Join(root, "usr/share/doc/image-cri-shim"))
		wantShellFiles(t, filepath.Join(root, "usr/share"), "site-functions")
	})
}
