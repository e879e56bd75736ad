package naming

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
)

func journalOf(pulls int) journaledRepository {
	of := journaledRepository{Kept: []keptRecord{{Name: stored, MediaType: "m", Digest: "sha256:" + strings.Repeat("1", 64), Size: 3, Labels: map[string]string{"a": "b"}}}}
	for i := range pulls {
		of.Pulls = append(of.Pulls, journaledPull{Original: fmt.Sprintf("docker.io/library/nginx:%d", i), Reference: fmt.Sprintf("%s/library/nginx:%d", hub, i), Registry: "http://" + hub})
	}
	return of
}

const (
	hub    = "sealos.hub:5000"
	asked  = "docker.io/library/nginx:1.25"
	stored = hub + "/library/nginx:1.25"
)

const journalRepository = hub + "/library/nginx"

func TestJournal(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "state")
	j := newJournal(directory)
	if repositories, err := j.load(); err != nil || len(repositories) > 0 {
		t.Fatalf("without a directory: %v, %v", repositories, err)
	}
	want := journalOf(3)
	if err := j.set(journalRepository, func() journaledRepository { return want }); err != nil {
		t.Fatal(err)
	}
	wantJournal := func(want map[string]journaledRepository) {
		t.Helper()
		got, err := newJournal(directory).load()
		if err != nil || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("read back %+v (%v), want %+v", got, err, want)
		}
	}
	wantJournal(map[string]journaledRepository{journalRepository: want})
	if err := os.RemoveAll(directory); err != nil {
		t.Fatal(err)
	}
	if err := j.set(journalRepository, func() journaledRepository { return want }); err != nil {
		t.Errorf("after the directory was removed: %v", err)
	}
	wantJournal(map[string]journaledRepository{journalRepository: want})
	j.drop("other")
	j.drop(journalRepository)
	wantJournal(map[string]journaledRepository{journalRepository: want})
	if err := j.flush(); err != nil {
		t.Error(err)
	}
	wantJournal(nil)
}

// TestJournalThatCantBeRead checks that an unreadable journal causes a warning, and that the
// namer works without it.
func TestJournalThatCantBeRead(t *testing.T) {
	for name, test := range map[string]struct{ content, want string }{
		"damaged":           {`{"version":1,"repos`, "damaged file"},
		"empty":             {``, "damaged file"},
		"newer":             {`{"version":2,"repositories":{}}`, "unsupported version 2, want 1"},
		"no original":       {`{"version":1,"repositories":{"a.test/b":{"pulls":[{"original":"","reference":"a.test/b:1"}]}}}`, "incomplete pull"},
		"another reference": {`{"version":1,"repositories":{"a.test/b":{"pulls":[{"original":"docker.io/library/b:1","reference":"a.test/c:1"}]}}}`, "incomplete pull"},
		"no kept name":      {`{"version":1,"repositories":{"a.test/b":{"kept":[{"digest":"sha256:1"}]}}}`, "incomplete record"},
		"too large":         {`{"version":1}` + strings.Repeat(" ", journalLimit), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			directory := t.TempDir()
			if err := os.WriteFile(filepath.Join(directory, journalName), []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			var warnings []string
			n := New(Options{Directory: directory, Ledger: ledger.New(), Warn: func(err error) { warnings = append(warnings, err.Error()) }})
			if len(warnings) != 1 || !strings.Contains(warnings[0], test.want) || !strings.Contains(warnings[0], journalName) {
				t.Errorf("warnings %q, want %q", warnings, test.want)
			}
			if !n.Idle() {
				t.Error("the gate is not idle")
			}
			if err := n.journal.set(journalRepository, func() journaledRepository { return journalOf(1) }); err != nil {
				t.Errorf("save: %v", err)
			}
			if got, err := newJournal(directory).load(); err != nil || len(got) != 1 {
				t.Errorf("read back %v, %v", got, err)
			}
		})
	}
}

// TestJournalBeforeAnOwnName checks that a pull by an image's own name removes earlier pulls
// from the file, because their repair after a crash would delete the name.
func TestJournalBeforeAnOwnName(t *testing.T) {
	n := New(Options{Directory: t.TempDir(), Ledger: ledger.New()})
	if err := n.journal.set(journalRepository, func() journaledRepository { return journalOf(1) }); err != nil {
		t.Fatal(err)
	}
	n.journal.drop(journalRepository)
	if got, err := newJournal(n.journal.directory).load(); err != nil || len(got) != 1 {
		t.Errorf("before the pull the file has %v, %v", got, err)
	}
	name, err := imagename.Parse(stored)
	if err != nil {
		t.Fatal(err)
	}
	end, err := n.BeginOwnPull(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	end(true)
	if got, err := newJournal(n.journal.directory).load(); err != nil || len(got) > 0 {
		t.Errorf("after the pull the file has %v, %v", got, err)
	}
}

// TestJournalIsBounded checks that the journal does not write a file that load would reject.
func TestJournalIsBounded(t *testing.T) {
	j := newJournal(t.TempDir())
	if err := j.set(journalRepository, func() journaledRepository { return journalOf(1) }); err != nil {
		t.Fatal(err)
	}
	large := journalOf(1)
	large.Kept[0].Labels = map[string]string{"a": strings.Repeat("b", journalLimit)}
	if err := j.set(hub+"/library/large", func() journaledRepository { return large }); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("save: %v", err)
	}
	if got, err := newJournal(j.directory).load(); err != nil || len(got) != 1 {
		t.Errorf("read back %d repositories, %v", len(got), err)
	}
}

// FuzzJournal decodes arbitrary bytes. A journal that is accepted must be resumable, and the
// resumed state must produce the same journal.
func FuzzJournal(f *testing.F) {
	for _, of := range []journaledRepository{{}, journalOf(0), journalOf(2), {Pulls: []journaledPull{{Original: asked, Reference: journalRepository + ":1.25", Succeeded: true}}, Kept: []keptRecord{{Name: stored}}}} {
		content, err := json.Marshal(journalDocument{Version: journalVersion, Repositories: map[string]journaledRepository{journalRepository: of}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Add([]byte(`{"version":1,"repositories":{"":{"pulls":null}}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		repositories, err := decodeJournal(content)
		if err != nil {
			return
		}
		g := newGate()
		for name, of := range repositories {
			state := g.resume(name, of)
			again := g.journaled(state)
			for _, pull := range again.Pulls {
				if imagename.Repository(pull.Reference) != name || !imagename.IsCanonical(pull.Original) {
					t.Errorf("the pull %+v is resumed in the repository %q", pull, name)
				}
			}
			if second := g.journaled(newGate().resume(name, again)); len(second.Pulls) != len(again.Pulls) || len(second.Kept) != len(again.Kept) {
				t.Errorf("resumed again it has %d pulls and %d records, want %d and %d", len(second.Pulls), len(second.Kept), len(again.Pulls), len(again.Kept))
			}
			if _, last := g.endPull(name); !last {
				t.Errorf("another pull from %q is in progress", name)
			}
			g.endDeletion(name)
		}
		if !g.idle() {
			t.Error("the gate is not idle")
		}
	})
}

// TestDropJournal checks that DropJournal empties the journal.
func TestDropJournal(t *testing.T) {
	n := New(Options{Directory: t.TempDir(), Ledger: ledger.New()})
	if dropped, err := DropJournal(n.journal.directory); dropped || err != nil {
		t.Errorf("without a journal: %v, %v", dropped, err)
	}
	if err := n.journal.set(journalRepository, func() journaledRepository { return journalOf(2) }); err != nil {
		t.Fatal(err)
	}
	if dropped, err := DropJournal(n.journal.directory); !dropped || err != nil {
		t.Errorf("with pulls: %v, %v", dropped, err)
	}
	if left, err := newJournal(n.journal.directory).load(); len(left) != 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}
