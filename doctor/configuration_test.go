package doctor

import (
	"os"
	"path/filepath"
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

// A file without a registry is one finding.
func TestNoRegistry(t *testing.T) {
	settings, err := config.Parse("f", []byte("debug: true"))
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Options: Options{File: "f", Settings: settings}}
	wantFinding(t, append(checkConfiguration(n), checkRegistries(t.Context(), n)...), Warn, "neither address nor registries is set", "set address")
}
