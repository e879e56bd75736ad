package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPackageOfChart requires that the packed chart has its templates and the version of the
// release.
func TestPackageOfChart(t *testing.T) {
	_, second := needPackages(t)
	folder := t.TempDir()
	if output, err := exec.CommandContext(testContext(t), "tar", "-C", folder, "-xzf", filepath.Join(second, "image-cri-shim-1.0.1-0.1.gabcdef0.tgz")).CombinedOutput(); err != nil {
		t.Fatalf("unpack: %v\n%s", err, output)
	}
	chart := readFile(t, filepath.Join(folder, "image-cri-shim", "Chart.yaml"))
	for _, want := range []string{"\nname: image-cri-shim\n", "\nversion: 1.0.1-0.1.gabcdef0\n", "\nappVersion: \"v1.0.0-1-gabcdef0\"\n"} {
		if !strings.Contains("\n"+chart, want) {
			t.Errorf("Chart.yaml does not contain %q:\n%s", want, chart)
		}
	}
	templates, err := filepath.Glob(filepath.Join(folder, "image-cri-shim", "templates", "*.yaml"))
	if err != nil || len(templates) == 0 {
		t.Errorf("the chart has no templates: %v", err)
	}
	if got, want := readFile(t, filepath.Join(second, "remove.yaml")), readFile(t, "../packaging/remove.yaml"); got != want {
		t.Errorf("got the remove.yaml:\n%s", got)
	}
}

// TestPackageVersionsOfChart requires that the charts' versions sort in the order of the
// commits. dpkg sorts these semantic versions as Helm does if a tilde begins the pre-release.
func TestPackageVersionsOfChart(t *testing.T) {
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip("dpkg is not installed")
	}
	previous := ""
	for _, version := range []struct{ git, date, want string }{
		{"0123456", "2026-01-02T03:04:05+01:00", "0.0.0-20260102020405.g0123456"},
		{"1234567-dirty", "2026-01-02T03:04:05+00:00", "0.0.0-20260102030405.g1234567.dirty"},
		{"v1.2.0-rc.1", "", "1.2.0-rc.1"},
		{"v1.2.0-rc.1-9-gabcdef0", "", "1.2.0-rc.1.9.gabcdef0"},
		{"v1.2.0-rc.1-10-g0123456", "", "1.2.0-rc.1.10.g0123456"},
		{"v1.2.0-rc.2", "", "1.2.0-rc.2"},
		{"v1.2.0", "", "1.2.0"},
		{"v1.2.0-9-gabcdef0", "", "1.2.1-0.9.gabcdef0"},
		{"v1.2.0-10-g0123456-dirty", "", "1.2.1-0.10.g0123456.dirty"},
		{"v1.2.1-alpha", "", "1.2.1-alpha"},
		{"v1.2.1", "", "1.2.1"},
	} {
		output, err := exec.CommandContext(testContext(t), "../packaging/chart-version", version.git, version.date).CombinedOutput()
		current := strings.TrimSpace(string(output))
		if err != nil || current != version.want {
			t.Errorf("the chart of %s has version %q (%v), want %s", version.git, current, err, version.want)
		}
		sorted := strings.Replace(current, "-", "~", 1)
		if previous != "" && exec.CommandContext(testContext(t), "dpkg", "--compare-versions", previous, "lt", sorted).Run() != nil {
			t.Errorf("%s does not sort before %s", previous, sorted)
		}
		previous = sorted
	}
	if output, err := exec.CommandContext(testContext(t), "../packaging/chart-version", "1.2", "").CombinedOutput(); err == nil || !strings.Contains(string(output), "1.2 is not a version such as v1.2.3") {
		t.Errorf("the version 1.2: %v, %s", err, output)
	}
}
