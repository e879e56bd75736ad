package critest

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// binariesVariable is the environment variable with the folder of containerd 2's programs.
const binariesVariable = "CONTAINERD_2_BIN"

// TestCritest runs the conformance suite directly on containerd, through a shim without
// registries, and through a shim that has every image under another name. The same specs
// must pass, fail and be skipped.
func TestCritest(t *testing.T) {
	built := build(t)
	var runs atomic.Int32
	t.Cleanup(func() {
		if runs.Load() == 0 {
			t.Error("no run of the suite is selected")
		}
	})
	for _, version := range []struct {
		name     string
		binaries string
		passed   int // minimum without the shim: fewer show a fault of the test bed
	}{
		{"1.6", "", 90},
		{"2.4", os.Getenv(binariesVariable), 115},
	} {
		t.Run(version.name, func(t *testing.T) {
			t.Parallel()
			needVersion(t, version.name, version.binaries)
			suite := func(mode mode) job {
				return job{nodeOptions: nodeOptions{mode, version.binaries, built.Shim}, Critest: built.Critest, Stub: built.Stub}
			}
			baseline := sync.OnceValues(func() (report, error) { return suite(direct).report(t) })
			t.Run(string(direct), func(t *testing.T) {
				t.Parallel()
				runs.Add(1)
				want, err := baseline()
				if err != nil {
					t.Fatal(err)
				}
				if count := want.count(passed); count < version.passed {
					t.Errorf("%d specs pass, want at least %d; not passed: %s", count, version.passed, want.notPassed())
				}
			})
			for _, mode := range []mode{unchanged, renamed} {
				t.Run(string(mode), func(t *testing.T) {
					t.Parallel()
					runs.Add(1)
					got, err := suite(mode).report(t)
					if err != nil {
						t.Fatal(err)
					}
					want, err := baseline()
					if err != nil {
						t.Fatal(err)
					}
					requireEqual(t, want, got, suite(direct), suite(mode))
				})
			}
		})
	}
}

// notPassed returns the names of the specs that failed or were skipped, with their messages.
func (r report) notPassed() string {
	var text strings.Builder
	for _, spec := range slices.Sorted(maps.Keys(r)) {
		if result := r[spec]; result.State != passed {
			fmt.Fprintf(&text, "\n%s: %s: %s", spec, result.State, result.Message)
		}
	}
	return text.String()
}

// needVersion requires the containerd version in the test's name.
func needVersion(t *testing.T, version, binaries string) {
	t.Helper()
	if version == "2.4" && binaries == "" {
		t.Fatalf("%s is not set to a folder with containerd %s: run make test-critest", binariesVariable, version)
	}
	command := "containerd" // from PATH
	if binaries != "" {
		command = filepath.Join(binaries, command)
	}
	output, err := exec.CommandContext(t.Context(), command, "--version").Output()
	if err != nil {
		t.Fatalf("containerd's version: %v", err)
	}
	if fields := strings.Fields(string(output)); len(fields) < 3 || !strings.HasPrefix(strings.TrimPrefix(fields[2], "v"), version+".") {
		t.Fatalf("%s is %s, want version %s", command, output, version)
	}
}
