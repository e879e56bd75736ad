package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

const hub = "sealos.hub:5000"

func openLedger(t *testing.T, directory string) *Ledger {
	t.Helper()
	ledger, err := Open(directory)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ledger.Close() }) // stops the retries of failed saves
	return ledger
}

func nameOf(i int) Entry {
	return Entry{
		Original: fmt.Sprintf("docker.io/library/app:%d", i),
		Image:    fmt.Sprintf("sha256:%064d", i/2),
		Stored:   fmt.Sprintf("%s/library/app:%d", hub, i),
	}
}

func TestLedgerSurvivesARestart(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "not", "there", "yet")
	l := openLedger(t, directory)
	for i := range 10 {
		if err := l.Apply(Change{SetNames: []Entry{nameOf(i)}, Hide: []ImageRef{{Reference: nameOf(i).Stored, Image: nameOf(i).Image}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Apply(Change{
		RemoveNames: []string{nameOf(3).Original},
		Hide:        []ImageRef{{Reference: "docker.io/library/left:1", Image: "sha256:left"}},
		Show:        []ImageRef{nameOf(4).stored()},
	}); err != nil {
		t.Fatal(err)
	}
	if err := l.RecordContainer(Container{ID: "1", Asked: "app", Sent: nameOf(1).Image}); err != nil {
		t.Fatal(err)
	}
	if err := l.ForgetImage(nameOf(8).Image, time.Now()); err != nil {
		t.Fatal(err)
	}
	again := openLedger(t, directory) // without closing the first, as after kill -9
	before, _ := l.snapshot()
	after, _ := again.snapshot()
	for i := range before.Names { // JSON drops the monotonic clock
		if !before.Names[i].At.Equal(after.Names[i].At) {
			t.Errorf("time of %s: %v, was %v", before.Names[i].Original, after.Names[i].At, before.Names[i].At)
		}
		after.Names[i].At = before.Names[i].At
	}
	before.Containers[0].at = time.Time{}
	if !reflect.DeepEqual(before, after) || len(after.Names) != 7 || len(after.Left) != 1 || len(after.Asked) != 1 || len(after.Containers) != 1 {
		t.Errorf("restored %+v\nwant %+v", after, before)
	}
	if !reflect.DeepEqual(l.hiddenHosts, again.hiddenHosts) || l.placementCount != again.placementCount {
		t.Errorf("hidden hosts %v, were %v; %d placements, were %d", again.hiddenHosts, l.hiddenHosts, again.placementCount, l.placementCount)
	}
	for i := range 8 {
		if hidden := again.IsHidden(nameOf(i).Stored, nameOf(i).Image); hidden != (i != 3 && i != 4) {
			t.Errorf("%s is hidden: %v", nameOf(i).Stored, hidden)
		}
	}
	if info, err := os.Stat(filepath.Join(l.file.directory, fileName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v (%v)", info.Mode(), err)
	}
}

func TestLedgerNamesAndHides(t *testing.T) {
	l := openLedger(t, t.TempDir())
	if l.MayRestore() || l.Mentions([]byte(hub)) {
		t.Error("a new ledger is not empty")
	}
	first, second := nameOf(0), nameOf(1) // the same image
	both := Change{SetNames: []Entry{first, second, first}, Show: []ImageRef{second.stored()}}
	if err := l.Apply(both); err != nil {
		t.Fatal(err)
	}
	if names := l.NamesOf(first.Image); len(names) != 2 || names[0].Original != first.Original || names[1].Original != second.Original {
		t.Errorf("names %+v", names)
	}
	if !l.IsHidden(first.Stored, first.Image) || l.IsHidden(first.Stored, "sha256:other") || l.IsHidden(second.Stored, second.Image) {
		t.Error("the wrong references are hidden")
	}
	if !l.Mentions([]byte("\x0a\x20"+hub+"/library/x")) || l.Mentions([]byte("quay.io/app:1")) {
		t.Error("Mentions is wrong")
	}
	moved := first
	moved.Image = nameOf(9).Image
	if err := l.Apply(Change{SetNames: []Entry{moved}}); err != nil {
		t.Fatal(err)
	}
	if got, ok := l.Lookup(first.Original); !ok || got.Image != moved.Image || len(l.NamesOf(first.Image)) != 1 {
		t.Errorf("the name means %+v", got)
	}
	for _, image := range []string{first.Image, moved.Image} {
		if err := l.ForgetImage(image, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if l.MayRestore() || l.Mentions([]byte(hub)) || len(l.images) != 0 {
		t.Error("the ledger is not empty after all images were forgotten")
	}
}

func TestLedgerWritesOnlyChanges(t *testing.T) {
	l := openLedger(t, t.TempDir())
	if err := l.Apply(Change{SetNames: []Entry{nameOf(1)}}); err != nil {
		t.Fatal(err)
	}
	same := Change{Hide: []ImageRef{{Reference: nameOf(1).Stored, Image: nameOf(1).Image}}}
	if err := l.Apply(same); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(l.file.directory, fileName)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		l.Apply(same), l.Apply(Change{RemoveNames: []string{"docker.io/library/no:1"}}), l.ForgetImage("sha256:no", time.Now()),
		l.Observe("docker.io/library/no:1", "", time.Now()), l.ReconcileContainers(nil, time.Now()), l.Close(),
	); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(l.file.directory, fileName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the ledger was saved without a change (%v)", err)
	}
}

func TestLedgerDamaged(t *testing.T) {
	for name, content := range map[string]string{
		"empty":           "",
		"cut off":         `{"version":1,"names":[{"original":"docker.io/libr`,
		"not JSON":        "\x00\x01",
		"another version": `{"version":3}`,
		"no version":      `{}`,
		"no reference":    `{"version":1,"names":[{"original":"No Name","image":"sha256:1","stored":"docker.io/library/a:1"}]}`,
		"not canonical":   `{"version":1,"names":[{"original":"nginx","image":"sha256:1","stored":"docker.io/library/a:1"}]}`,
		"no image":        `{"version":1,"names":[{"original":"docker.io/library/a:1","stored":"docker.io/library/a:1"}]}`,
		"hides nothing":   `{"version":1,"hidden":[{"image":"sha256:1"}]}`,
		"leaves nothing":  `{"version":2,"left":[{"image":"sha256:1"}]}`,
		"asks nothing":    `{"version":2,"asked":[{"reference":"docker.io/library/a:1"}]}`,
		"no container":    `{"version":2,"containers":[{"asked":"nginx"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			directory := t.TempDir()
			path := filepath.Join(directory, "ledger.json")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			l, err := Open(directory)
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("Open returned %v, want an error with the path of the file", err)
			}
			if kept, err := os.ReadFile(path + ".damaged"); err != nil || string(kept) != content {
				t.Errorf("the renamed file contains %q (%v)", kept, err)
			}
			if l.MayRestore() {
				t.Error("the ledger does not start empty")
			}
			if err := l.Apply(Change{SetNames: []Entry{nameOf(1)}}); err != nil {
				t.Fatal(err)
			}
			if again := openLedger(t, directory); !again.MayRestore() {
				t.Error("a later change was not saved")
			}
		})
	}
}

func TestLedgerWithoutADisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Open(filepath.Join(file, "state"))
	if err == nil {
		t.Error("Open returned no error")
	}
	if err := l.Apply(Change{SetNames: []Entry{nameOf(1)}}); err == nil {
		t.Error("Apply returned no error although the change was not saved")
	}
	if _, ok := l.Lookup(nameOf(1).Original); !ok {
		t.Error("the change is not in force")
	}
}

func TestLedgerIsBounded(t *testing.T) {
	l := newLedger(&file{}) // in memory
	l.limit = 100
	for i := range 1000 {
		name := nameOf(i)
		if err := l.Apply(Change{SetNames: []Entry{name}, Hide: []ImageRef{{Reference: name.Stored, Image: name.Image}}}); err != nil {
			t.Fatal(err)
		}
		if len(l.names) > l.limit || l.placementCount > 2*l.limit+1 {
			t.Fatalf("%d names, %d placements after %d", len(l.names), l.placementCount, i)
		}
		if got, ok := l.Lookup(name.Original); !ok || got.Stored != name.Stored {
			t.Fatalf("the newest name was dropped: %+v", got)
		}
	}
	// Hidden references on images without a name are limited too.
	for i := range 1000 {
		if err := l.Apply(Change{Hide: []ImageRef{{Reference: fmt.Sprintf("quay.io/app:%d", i), Image: "sha256:0"}}}); err != nil {
			t.Fatal(err)
		}
	}
	if l.placementCount > 2*l.limit {
		t.Errorf("%d placements", l.placementCount)
	}
	for i := range 1000 {
		if err := l.RecordContainer(Container{ID: fmt.Sprint(i), Asked: "app", Sent: "sha256:0"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := l.Container("999"); len(l.containers) > l.limit || !ok {
		t.Errorf("%d containers, newest present: %v", len(l.containers), ok)
	}
}

func TestLedgerConcurrently(t *testing.T) {
	directory := t.TempDir()
	l := openLedger(t, directory)
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 20 {
				name := nameOf(worker*100 + i)
				if err := l.Apply(Change{SetNames: []Entry{name}, Hide: []ImageRef{{Reference: name.Stored, Image: name.Image}}}); err != nil {
					t.Error(err)
				}
				// When Apply has returned, the change is on disk.
				if again := openLedger(t, directory); len(again.NamesOf(name.Image)) == 0 {
					t.Errorf("%s is not on disk", name.Original)
				}
				l.IsHidden(name.Stored, name.Image)
				l.Mentions([]byte(hub))
			}
		})
	}
	group.Wait()
	if again := openLedger(t, directory); len(again.names) != 160 {
		t.Errorf("%d names on disk, want 160", len(again.names))
	}
}

// ForgetImage keeps the records of an image that was pulled again after it was missing.
func TestLedgerForgetsOnlyWhatIsOlder(t *testing.T) {
	l := openLedger(t, t.TempDir())
	missed := time.Now()
	first, second := nameOf(0), nameOf(1) // the same image
	if err := l.Apply(Change{SetNames: []Entry{first, second}, Hide: []ImageRef{{Reference: first.Stored, Image: first.Image}}}); err != nil {
		t.Fatal(err)
	}
	if err := l.ForgetImage(first.Image, missed); err != nil {
		t.Fatal(err)
	}
	if len(l.NamesOf(first.Image)) != 2 || !l.IsHidden(first.Stored, first.Image) {
		t.Error("ForgetImage dropped later records")
	}
}

// Eviction drops whole images: a tag is never dropped without its digest.
func TestLedgerEvictsWholeImages(t *testing.T) {
	l := openLedger(t, t.TempDir())
	l.limit = 10
	for i := range 50 {
		image := fmt.Sprintf("sha256:%064d", i)
		tag := fmt.Sprintf("docker.io/library/app:%d", i)
		digest := fmt.Sprintf("docker.io/library/app@sha256:%064d", i)
		if err := l.Apply(Change{
			SetNames: []Entry{{Original: tag, Image: image, Stored: hub + "/a:1"}, {Original: digest, Image: image, Stored: hub + "/a:1"}},
			Hide:     []ImageRef{{Reference: fmt.Sprintf("%s/library/app:%d", hub, i), Image: image}},
		}); err != nil {
			t.Fatal(err)
		}
		for on := range l.images {
			if len(l.images[on]) != 2 {
				t.Fatalf("image %s has names %q", on, l.images[on])
			}
		}
		for on := range l.hiddenImages() {
			if len(l.images[on]) == 0 {
				t.Fatalf("the image %s has hidden references but no name", on)
			}
		}
	}
}

// hiddenImages returns the images with a hidden reference.
func (l *Ledger) hiddenImages() map[string]bool {
	images := make(map[string]bool)
	for _, on := range l.placements {
		for image, p := range on {
			if p.isHidden() {
				images[image] = true
			}
		}
	}
	return images
}

// TestReadLedger reads the file of a daemon and checks that a reader does not change it.
func TestReadLedger(t *testing.T) {
	folder := t.TempDir()
	writer, err := Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	name := Entry{Original: "docker.io/library/nginx:1", Image: "sha256:1", Stored: hub + "/library/nginx:1"}
	if err := writer.Apply(Change{SetNames: []Entry{name}}); err != nil {
		t.Fatal(err)
	}
	reader, err := Read(folder)
	if err != nil {
		t.Fatal(err)
	}
	if found, ok := reader.Lookup(name.Original); !ok || found.Stored != name.Stored {
		t.Errorf("read %+v", found)
	}
	if err := reader.Apply(Change{RemoveNames: []string{name.Original}}); err != nil {
		t.Fatal(err)
	}
	again, err := Read(folder)
	if _, ok := again.Lookup(name.Original); err != nil || !ok {
		t.Error("a ledger from Read changed the file")
	}
	if missing, err := Read(folder + "/missing"); err != nil || len(missing.entries()) > 0 {
		t.Errorf("a missing file: %v, %v", missing.entries(), err)
	}
	if err := os.WriteFile(filepath.Join(folder, fileName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if damaged, err := Read(folder); err == nil || len(damaged.entries()) > 0 {
		t.Errorf("a damaged file: %v, %v", damaged.entries(), err)
	}
}
