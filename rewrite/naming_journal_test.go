package rewrite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
)

// TestJournalThatCantBeWritten checks that pulls succeed with a warning if the journal can't be
// written.
func TestJournalThatCantBeWritten(t *testing.T) {
	bubble(t, func(t *testing.T, n *namingNode) {
		n.restartIn(t.TempDir())
		image := n.push(stored)
		if err := os.Mkdir(filepath.Join(n.directory, journalName), 0o700); err != nil { // root may write to any directory
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(n.directory, journalName, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		n.checkedPull(asked)
		n.wantStored(recorded{image, []string{asked}})
		synctest.Wait() // wait for the save after the answer
		if warnings := n.warned(); len(warnings) != 2 || !strings.Contains(warnings[0], "keeps the registry's name if the shim is killed") {
			t.Errorf("warnings %q", warnings)
		}
		if !n.namer.Idle() {
			t.Error("a pull is in progress")
		}
	})
}
