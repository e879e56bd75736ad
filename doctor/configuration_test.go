package doctor

import (
	"os"
	"path/filepath"
	"testing"
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
