package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestExampleConfiguration checks the example configuration as shipped, and with all
// commented keys enabled.
func TestExampleConfiguration(t *testing.T) {
	example, err := os.ReadFile("../packaging/image-cri-shim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const authority = "/etc/ssl/certs/ca-certificates.crt"
	commented := regexp.MustCompile(`(?m)^#( *(?:- )?[a-zA-Z]+:( .*)?)$`)
	full := commented.ReplaceAllString(string(example), "$1")
	if strings.Count(full, "\n  imageCacheSize: 1024") != 1 || strings.Count(full, "\n    auth: ") != 1 {
		t.Fatalf("some key is not on its own line:\n%s", full)
	}
	full = regexp.MustCompile(`ca: /.*`).ReplaceAllString(full, "ca: "+authority)
	for name, content := range map[string]string{"as it is": string(example), "every key": full} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(authority); err != nil && strings.Contains(content, "\n"+"ca: ") {
				t.Skip("ca-certificates is not installed")
			}
			file := filepath.Join(t.TempDir(), "image-cri-shim.yaml")
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			output, err := exec.CommandContext(testContext(t), shared.shim, "--file", file, "check").CombinedOutput()
			if err != nil {
				t.Errorf("check: %v\n%s", err, output)
			}
			if strings.Contains(string(output), "passw0rd") || strings.Contains(string(output), "s3cret") {
				t.Errorf("check prints a password:\n%s", output)
			}
		})
	}
}

// TestUnits verifies the systemd units and that the service has few permissions.
func TestUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	units, err := filepath.Glob("../packaging/image-cri-shim.s*")
	if err != nil || len(units) == 0 {
		t.Fatalf("no units: %v", err)
	}
	folder := t.TempDir()
	for i, unit := range units {
		content, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		units[i] = filepath.Join(folder, filepath.Base(unit))
		installed := strings.ReplaceAll(string(content), "/usr/bin/image-cri-shim", shared.shim)
		if err := os.WriteFile(units[i], []byte(installed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	verify := append([]string{"verify", "--man=no"}, units...)
	if output, err := exec.CommandContext(testContext(t), "systemd-analyze", verify...).CombinedOutput(); err != nil || len(output) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, output)
	}
	service := filepath.Join(folder, "image-cri-shim.service")
	output, err := exec.CommandContext(testContext(t), "systemd-analyze", "security", "--offline=true", "--threshold=30", service).CombinedOutput()
	if err != nil {
		t.Errorf("the service's exposure is above 3.0: %v\n%s", err, output)
	}

	_, dropIn, found := strings.Cut(readFile(t, "../docs/credentials.md"), "```ini\n")
	dropIn, _, _ = strings.Cut(dropIn, "```")
	if err := os.Mkdir(service+".d", 0o700); err != nil || !found {
		t.Fatalf("the document does not contain the drop-in: %v (%v)", found, err)
	}
	if err := os.WriteFile(filepath.Join(service+".d", "helper.conf"), []byte(dropIn), 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.CommandContext(testContext(t), "systemd-analyze", verify...).CombinedOutput(); err != nil || len(output) > 0 {
		t.Errorf("systemd-analyze verify with the drop-in for helpers: %v\n%s", err, output)
	}
}
