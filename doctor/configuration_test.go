package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/config"
)

func TestPermissions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	for mode, want := range map[os.FileMode]Level{0o600: OK, 0o640: OK, 0o660: OK, 0o644: OK, 0o602: Fail, 0o666: Fail} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if got := checkPermissions(t.Context(), &node{Options: Options{File: file}}); got[0].Level != want {
			t.Errorf("%04o: %+v", mode, got)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 65534, 0); err != nil {
		t.Fatal(err)
	}
	if got := checkPermissions(t.Context(), &node{Options: Options{File: file}}); got[0].Level != Warn {
		t.Errorf("another's: %+v", got)
	}
}

// The checks that an invalid file prevents are mentioned, and the verdict leaves open whether a
// shim runs, since its state directory is unknown.
func TestInvalidFile(t *testing.T) {
	_, err := config.Parse("f", []byte("adress: hub\nshimm: /s"))
	if err == nil {
		t.Fatal("the file is valid")
	}
	got := Examine(t.Context(), Options{File: "f", Problem: err, Admin: filepath.Join(t.TempDir(), "admin.sock")})
	if len(got.Findings) != 2 || strings.Contains(got.Findings[0].Text, "skipped") || !strings.HasSuffix(got.Findings[1].Text, "; other checks are skipped until the file is valid") ||
		got.Verdict != "the shim can't start with this configuration; a running shim keeps its last good one" {
		t.Errorf("%+v", got)
	}
}

// A file without a registry is one finding.
func TestNoRegistry(t *testing.T) {
	settings, err := config.Parse("f", []byte("debug: true"))
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Options: Options{File: "f", Settings: settings}}
	wantFinding(t, append(checkConfiguration(n), checkRegistries(t.Context(), n)...), Warn, "neither address nor registries is set", "set address")
}
