package service

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A clock that was set back does not make the shim outdated, and hides no changed unit.
func TestApplyAfterTheClockWasSetBack(t *testing.T) {
	n := newNode(t, nil)
	s := n.service(t, "v1.0.0")
	files := Files{ConfigKey: configuration("")}
	if _, err := install(t.Context(), s, files); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	unit := filepath.Join(n.root, unitFolder, serviceUnit)
	if err := os.Chtimes(unit, later, later); err != nil {
		t.Fatal(err)
	}
	wantNoDrift(t, s, files)
	if needed, err := s.NeedsRestart(t.Context(), files); err != nil || needed {
		t.Errorf("NeedsRestart returns %t, %v", needed, err)
	}
	if restarted, err := install(t.Context(), s, files); err != nil || restarted {
		t.Errorf("restarted %t, %v; want false", restarted, err)
	}
	n.systemd.started = later
	if err := os.WriteFile(unit, []byte("[Service]\nExecStart=/bin/false\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if restarted, err := install(t.Context(), s, files); err != nil || !restarted {
		t.Errorf("restarted %t, %v; want true for a changed unit", restarted, err)
	}
}
