package e2e

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// buildPackages runs packaging/build of a source tree for this architecture.
func buildPackages(tree, target, version, umask string) error {
	command := exec.Command("bash", "-c", "umask "+umask+"; exec packaging/build "+target)
	command.Dir = tree
	command.Env = append(os.Environ(), "VERSION="+version, "COMMIT=0123456789", "DATE=2026-01-02T03:04:05+00:00", "ARCHITECTURES=amd64")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("build the packages %s: %w\n%s", version, err, output)
	}
	return nil
}

// packages builds version 1.0.0 and its successor, each in its own folder.
var packages = sync.OnceValues(func() (folders [2]string, err error) {
	for i, version := range []string{"v1.0.0", "v1.0.0-1-gabcdef0"} {
		folders[i] = filepath.Join(shared.folder, "packages", version)
		if err := buildPackages("..", folders[i], version, "022"); err != nil {
			return folders, err
		}
	}
	return folders, nil
})

func needPackages(t *testing.T) (first, second string) {
	t.Helper()
	for _, tool := range []string{"make", "tar", "gzip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool, "is not installed")
		}
	}
	folders, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	return folders[0], folders[1]
}

// onlyFile returns the only file in a folder that matches a pattern.
func onlyFile(t *testing.T, folder, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(folder, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: found %q, want one file", pattern, found)
	}
	return found[0]
}

// TestPackagesAreReproducible builds the same version in another folder, from files with other
// times and modes, and requires identical packages.
func TestPackagesAreReproducible(t *testing.T) {
	first, _ := needPackages(t)
	tree := t.TempDir()
	copyTree(t, "..", tree)
	second := t.TempDir()
	if err := buildPackages(tree, second, "v1.0.0", "077"); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(first)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 7 {
		t.Errorf("found %v, want a deb, an rpm, a tar.gz, an SBOM, the chart, remove.yaml and the checksums", files)
	}
	for _, file := range files {
		one, err := os.ReadFile(filepath.Join(first, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		other, err := os.ReadFile(filepath.Join(second, file.Name()))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(one, other) {
			t.Errorf("%s differs when built again", file.Name())
		}
	}
	command := exec.CommandContext(testContext(t), "sha256sum", "--check", "--strict", "SHA256SUMS")
	command.Dir = first
	if output, err := command.CombinedOutput(); err != nil || bytes.Count(output, []byte(": OK")) != 6 {
		t.Errorf("verify the checksums: %v\n%s", err, output)
	}
}

// copyTree copies the files that git tracks or would add.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	command := exec.CommandContext(testContext(t), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	command.Dir = from
	list, err := command.Output()
	if err != nil {
		t.Skip("the source is not in git: ", err)
	}
	for file := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(from, file))
		if os.IsNotExist(err) {
			continue // deleted, but the deletion is not committed
		}
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(to, file)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, content, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(target, time.Time{}, time.Unix(1<<30, 0)); err != nil {
			t.Fatal(err)
		}
	}
}

// unpack unpacks the tar.gz in a folder of packages and returns the new folder.
func unpack(t *testing.T, packages string) string {
	t.Helper()
	folder := t.TempDir()
	if output, err := exec.CommandContext(testContext(t), "tar", "-C", folder, "-xzf", onlyFile(t, packages, "*.tar.gz")).CombinedOutput(); err != nil {
		t.Fatalf("unpack: %v\n%s", err, output)
	}
	return onlyFile(t, folder, "*")
}

// TestSBOM compares the bill of materials with the module list in the binary.
func TestSBOM(t *testing.T) {
	first, _ := needPackages(t)
	var bill struct {
		BOMFormat, SpecVersion string
		Metadata               struct {
			Component struct{ Name, Version string }
		}
		Components []struct{ Name, Version, PURL string }
	}
	content, err := os.ReadFile(onlyFile(t, first, "*.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &bill); err != nil {
		t.Fatal(err)
	}
	if bill.BOMFormat != "CycloneDX" || bill.SpecVersion != "1.6" || bill.Metadata.Component.Name != "image-cri-shim" || bill.Metadata.Component.Version != "v1.0.0" {
		t.Errorf("the bill describes %+v, format %s %s", bill.Metadata.Component, bill.BOMFormat, bill.SpecVersion)
	}
	info, err := buildinfo.ReadFile(filepath.Join(unpack(t, first), "image-cri-shim"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"std@" + info.GoVersion}
	for _, module := range info.Deps {
		want = append(want, module.Path+"@"+module.Version)
	}
	var got []string
	for _, component := range bill.Components {
		got = append(got, component.Name+"@"+component.Version)
		if !strings.HasPrefix(component.PURL, "pkg:golang/"+component.Name) {
			t.Errorf("%s has the package URL %s", component.Name, component.PURL)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the bill lists %q, but the binary has %q", got, want)
	}
}

// TestPackageVersions requires that dpkg sorts versions from git in the order of their commits.
func TestPackageVersions(t *testing.T) {
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip("dpkg is not installed")
	}
	previous := ""
	for _, version := range []struct{ git, date, want string }{
		{"291c1b6", "2026-01-02T03:04:05+01:00", "0~20260102020405.291c1b6"},
		{"1234567-dirty", "2026-01-02T03:04:05+00:00", "0~20260102030405.1234567.dirty"},
		{"v1.2.0-rc.1", "", "1.2.0~rc.1"},
		{"v1.2.0-rc.1-9-gabcdef0", "", "1.2.0~rc.1+9.gabcdef0"},
		{"v1.2.0-rc.2", "", "1.2.0~rc.2"},
		{"v1.2.0", "", "1.2.0"},
		{"v1.2.0-9-gabcdef0", "", "1.2.0+9.gabcdef0"},
		{"v1.2.0-10-g0123456-dirty", "", "1.2.0+10.g0123456.dirty"},
		{"v1.2.1", "", "1.2.1"},
	} {
		output, err := exec.CommandContext(testContext(t), "../packaging/version", version.git, version.date).CombinedOutput()
		current := strings.TrimSpace(string(output))
		if err != nil || current != version.want {
			t.Errorf("the package of %s has version %q (%v), want %s", version.git, current, err, version.want)
		}
		if previous != "" && exec.CommandContext(testContext(t), "dpkg", "--compare-versions", previous, "lt", current).Run() != nil {
			t.Errorf("%s does not sort before %s", previous, current)
		}
		previous = current
	}
}
