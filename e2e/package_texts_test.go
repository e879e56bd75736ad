package e2e

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPackageLintian requires that lintian reports no error and no warning.
func TestPackageLintian(t *testing.T) {
	first, second := needPackages(t)
	if _, err := exec.LookPath("lintian"); err != nil {
		t.Skip("lintian is not installed")
	}
	for _, folder := range []string{first, second} {
		output, err := exec.CommandContext(testContext(t), "lintian", "--allow-root", "--fail-on", "error,warning", onlyFile(t, folder, "*.deb")).CombinedOutput()
		if err != nil || len(output) > 0 {
			t.Errorf("lintian: %v\n%s", err, output)
		}
	}
}

// TestPackageTexts requires that the packages and the service describe the program as the
// README does.
func TestPackageTexts(t *testing.T) {
	description := regexp.MustCompile(`(?m)^description: \|\n  (.*)\n((?:  .*\n)*)`).FindStringSubmatch(readFile(t, "../packaging/nfpm.yaml"))
	if description == nil {
		t.Fatal("the packages have no description")
	}
	summary, body := description[1], strings.Join(strings.Fields(description[2]), " ")
	if readme := strings.Join(strings.Fields(strings.ReplaceAll(readFile(t, "../README.md"), "`", "")), " "); !strings.Contains(readme, body) {
		t.Errorf("README.md does not contain %q", body)
	}
	for file, want := range map[string]string{
		"../packaging/nfpm.yaml":              "\n  summary: " + summary + "\n",
		"../packaging/image-cri-shim.service": "\nDescription=" + summary + "\n",
	} {
		if !strings.Contains(readFile(t, file), want) {
			t.Errorf("%s lacks %q", file, want)
		}
	}
}

// wantShellFiles requires that the manual page and the completions below a folder, usually
// /usr/share, are those that the program prints. zsh is the folder of zsh's completions.
func wantShellFiles(t *testing.T, folder, zsh string) {
	t.Helper()
	for file, arguments := range map[string][]string{
		"man/man1/image-cri-shim.1.gz":                  {"man"},
		"bash-completion/completions/image-cri-shim":    {"completion", "bash"},
		"zsh/" + zsh + "/_image-cri-shim":               {"completion", "zsh"},
		"fish/vendor_completions.d/image-cri-shim.fish": {"completion", "fish"},
	} {
		want, err := exec.CommandContext(testContext(t), shared.shim, arguments...).Output()
		if err != nil {
			t.Fatalf("%q: %v", arguments, err)
		}
		got, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Error(err)
			continue
		}
		if strings.HasSuffix(file, ".gz") {
			reader, err := gzip.NewReader(bytes.NewReader(got))
			if err != nil {
				t.Fatal(err)
			}
			if got, err = io.ReadAll(reader); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not the output of image-cri-shim %s:\n%s", file, strings.Join(arguments, " "), got)
		}
	}
}
