package ledger

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// FuzzLedgerFile opens a ledger from a file with arbitrary bytes. Open must either read the
// file or rename it unchanged. In both cases the ledger must be usable, and must read back the
// document that it writes.
func FuzzLedgerFile(f *testing.F) {
	directory := f.TempDir()
	path := filepath.Join(directory, "ledger.json")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		ledger, err := Open(directory)
		kept := path
		if err != nil {
			kept += ".damaged"
			if ledger.MayRestore() {
				t.Errorf("Open returned %v, but the ledger is not empty", err)
			}
		}
		if same, err := os.ReadFile(kept); err != nil || !bytes.Equal(same, content) {
			t.Errorf("%s contains %q (%v), want %q", kept, same, err, content)
		}
		name := Entry{Original: "docker.io/library/new:1", Image: "sha256:new", Stored: hub + "/library/new:1"}
		if err := ledger.Apply(Change{SetNames: []Entry{name}, Hide: []ImageRef{{Reference: name.Stored, Image: name.Image}}}); err != nil {
			t.Fatal(err)
		}
		if known, ok := ledger.Lookup(name.Original); !ok || known.Image != name.Image || !ledger.IsHidden(name.Stored, name.Image) {
			t.Errorf("the ledger has %+v for %s", known, name.Original)
		}
		again, err := Open(directory)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := documentOf(again), documentOf(ledger); !reflect.DeepEqual(got, want) {
			t.Errorf("reopened ledger:\n%+v\nwant\n%+v", got, want)
		}
	})
}

// documentOf returns the document that a ledger writes, with comparable times.
func documentOf(l *Ledger) document {
	d, _ := l.snapshot()
	for i := range d.Names {
		d.Names[i].At = d.Names[i].At.UTC().Round(0)
	}
	return d
}
