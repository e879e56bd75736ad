package service

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/config"
)

// Truncated records keep neither a release nor the removal from working.
func TestTruncatedRecords(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("installed again %t", again), func(t *testing.T) {
			n := newNode(t, originalFiles)
			s := n.service(t, "v1.0.0")
			files := Files{ConfigKey: configuration(""), "ca.pem": []byte("ours"), "auth.json": []byte("{}")}
			if _, err := install(t.Context(), s, files); err != nil {
				t.Fatal(err)
			}
			entries, err := os.ReadDir(s.originals.folder)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range entries {
				if entry.IsDir() {
					continue
				}
				if err := os.Truncate(filepath.Join(s.originals.folder, entry.Name()), 0); err != nil {
					t.Fatal(err)
				}
			}
			if again {
				if _, err := install(t.Context(), s, files); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Remove(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n.systemd.shim != nil || n.systemd.listens || len(n.systemd.enabled) > 0 || s.Installed() {
				t.Errorf("units remain: %v", n.systemd.enabled)
			}
			for _, path := range []string{VersionsFolder, unitFolder + "/" + serviceUnit, unitFolder + "/" + socketUnit} {
				if exists(s.path(path)) {
					t.Errorf("%s remains", path)
				}
			}
			// Without the second installation, the files may be an administrator's.
			if exists(s.path(config.DefaultFile)) == again || exists(s.path(extrasFolder+"/auth.json")) == again {
				t.Errorf("the configuration remains: %t", !again)
			}
			var warnings []string
			for _, entry := range n.log.AllEntries() {
				warnings = append(warnings, fmt.Sprint(entry.Message, entry.Data))
			}
			for _, file := range []string{s.nodeFile(), s.originals.file(s.path(config.DefaultFile))} {
				if !strings.Contains(strings.Join(warnings, "\n"), file) {
					t.Errorf("no warning names %s:\n%s", file, strings.Join(warnings, "\n"))
				}
			}
		})
	}
}
