package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/admin"
	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/registry"
)

// TestStateThatOthersWrite requires a finding for state that others may write, with the same
// command as in the shim's warning.
func TestStateThatOthersWrite(t *testing.T) {
	const user, other = 65534, 65533
	for name, test := range map[string]struct {
		spoil         func(state, ledger, admin string) error
		check, remedy string // empty: nothing is wrong
	}{
		"sound":             {func(string, string, string) error { return nil }, "", ""},
		"folder of all":     {func(state, _, _ string) error { return os.Chmod(state, 0o777) }, "state", "chmod go-w STATE; the shim then saves its state without a restart"},
		"ledger of a group": {func(_, ledger, _ string) error { return os.Chmod(ledger, 0o660) }, "ledger", "chmod go-w LEDGER; the shim then saves its state without a restart"},
		"damaged":           {func(_, ledger, _ string) error { return os.WriteFile(ledger, []byte("{"), 0o600) }, "ledger", "move it away"},
		"all of another user": {func(state, ledger, admin string) error {
			return errors.Join(os.Chown(state, user, user), os.Chown(ledger, user, user), os.Chown(admin, user, user))
		}, "", ""},
		"folder without its user's rights": {func(state, ledger, admin string) error {
			return errors.Join(os.Chown(state, user, user), os.Chown(ledger, user, user), os.Chown(admin, user, user), os.Chmod(state, 0o500))
		}, "state", "chmod u+rwx STATE; the shim then"},
		"ledger that its user may not read": {func(state, ledger, admin string) error {
			return errors.Join(os.Chown(state, user, user), os.Chown(ledger, user, user), os.Chown(admin, user, user), os.Chmod(ledger, 0o200))
		}, "ledger", "chmod u+rw LEDGER; the shim then"},
		"folder of another user, who runs no shim": {func(state, _, _ string) error { return os.Chown(state, user, user) }, "state", "chown 0 STATE; the shim then"},
		"ledger of another user": {func(state, ledger, admin string) error {
			return errors.Join(os.Chown(state, user, user), os.Chown(ledger, other, other), os.Chown(admin, user, user))
		}, "ledger", "chown 65534 LEDGER; the shim then"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(name, "user") && os.Geteuid() != 0 {
				t.Skip("only root can give a file away")
			}
			state := filepath.Join(t.TempDir(), "state")
			file, admin := filepath.Join(state, "ledger.json"), filepath.Join(state, "admin.sock")
			err := errors.Join(os.Mkdir(state, 0o700), os.WriteFile(file, []byte(`{"version":1}`), 0o600), os.WriteFile(admin, nil, 0o600))
			if err := errors.Join(err, test.spoil(state, file, admin)); err != nil {
				t.Fatal(err)
			}
			n := &node{Options: Options{Settings: &config.Config{StateDirectory: state}, Admin: admin}}
			remedy := strings.NewReplacer("STATE", state, "LEDGER", file).Replace(test.remedy)
			found := false
			for _, f := range append(checkStateDirectory(t.Context(), n), checkLedger(t.Context(), n)...) {
				wrong := f.Level != OK
				found = found || wrong
				if wrong != (f.Check == test.check) || !strings.Contains(f.Hint, remedy) && wrong {
					t.Errorf("%+v, want that %q says %q", f, test.check, remedy)
				}
			}
			if found != (test.check != "") {
				t.Errorf("something is wrong: %v", found)
			}
		})
	}
}

// TestStateOfMode tests the consequence that is reported in each mode, and the finding for a
// ledger that does not exist yet.
func TestStateOfMode(t *testing.T) {
	for mode, want := range map[string]string{
		"runtime": "pulls.json and ledger.json there; as a result, a pull interrupted by a crash",
		"ledger":  "pulls.json and ledger.json there; as a result, names of images are lost",
	} {
		state := filepath.Join(t.TempDir(), "state")
		if err := os.Mkdir(state, 0o700); err != nil {
			t.Fatal(err)
		}
		n := &node{Options: Options{Settings: &config.Config{StateDirectory: state}}, shimStatus: ShimStatus{Names: explain.Naming{Mode: mode}}}
		wantFinding(t, checkLedger(t.Context(), n), OK, "does not exist yet", "")
		if err := os.Chmod(state, 0o757); err != nil {
			t.Fatal(err)
		}
		wantFinding(t, checkStateDirectory(t.Context(), n), Fail, want, "chmod go-w "+state)
	}
}

// TestLedgerOfTheRunningShim compares the names of the running shim with those in the file.
func TestLedgerOfTheRunningShim(t *testing.T) {
	const one = `{"version":1,"names":[{"original":"docker.io/library/nginx:1","image":"sha256:1","stored":"hub:5000/library/nginx:1","at":"2026-01-02T03:04:05Z"}]}`
	for _, test := range []struct {
		name, file string // an empty file: none
		damaged    bool
		mode       string
		names      int // of the running shim
		images     []explain.Lookups
		newer      bool // the file is newer than the shim's answer
		level      Level
		text, hint string
	}{
		{name: "the same", file: one, names: 1, text: "readable, names: 1"},
		{name: "not saved", file: one, names: 2, level: Warn, text: "the file has 1 names, but the running shim has 2", hint: "run the doctor again"},
		{name: "not read", file: one, level: Warn, text: "the file has 1 names, but the running shim has 0", hint: "run the doctor again"},
		{name: "just saved", file: one, names: 2, newer: true, text: "readable, names: 1"},
		{name: "removed", names: 2, level: Warn, text: "does not exist, but the running shim has 2 names", hint: "do not restart the shim"},
		{name: "damaged", damaged: true, level: Warn, text: "was damaged, and the shim renamed it", hint: "rename it to ledger.json"},
		{name: "damaged before", damaged: true, file: one, names: 1, text: "readable, names: 1"},
		{name: "new", mode: "ledger", images: []explain.Lookups{lookup("docker.io/library/nginx:1", "", registry.Found, true)}, text: "does not exist yet"},
		{name: "lost", mode: "ledger", images: []explain.Lookups{ownLookup("hub:5000/library/nginx:1", registry.Found)}, level: Warn, text: "the node has 1 image with the name of a registry, such as hub:5000/library/nginx:1", hint: "from a backup"},
		{name: "names in the runtime", mode: "runtime", images: []explain.Lookups{ownLookup("hub:5000/library/nginx:1", registry.Found)}, text: "does not exist yet"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := nodeWith(test.images...)
			n.Settings.StateDirectory, n.Admin = t.TempDir(), "none"
			n.shimStatus, n.shimStatusAt = ShimStatus{Ledger: test.names, Names: explain.Naming{Mode: test.mode}}, time.Now().Add(time.Hour)
			if test.newer {
				n.shimStatusAt = time.Now().Add(-time.Hour)
			}
			write := func(name, content string) {
				if err := os.WriteFile(filepath.Join(n.Settings.StateDirectory, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if test.file != "" {
				write("ledger.json", test.file)
			}
			if test.damaged {
				write("ledger.json.damaged", "{")
			}
			wantFinding(t, checkLedger(t.Context(), n), test.level, test.text, test.hint)
		})
	}
}

// TestStateWithoutAdminSocket requires one cause if the shim can't write to its state directory.
func TestStateWithoutAdminSocket(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	state := filepath.Join(t.TempDir(), "state")
	if err := errors.Join(os.Mkdir(state, 0o500), os.Chown(state, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	n := &node{Options: Options{Settings: &config.Config{Shim: "/run/shim.sock", StateDirectory: state}, Admin: filepath.Join(state, "admin.sock")}, shimStatusErr: admin.ErrNotRunning}
	n.shim = criServer{versions: []string{"v1"}, version: &cri.VersionResponse{RuntimeName: "containerd"}}
	got := checkStateDirectory(t.Context(), n)
	if len(got) != 1 || got[0].Level != Fail {
		t.Errorf("%+v", got)
	}
	wantFinding(t, checkRunningShim(t.Context(), n), OK, "", "")
}
