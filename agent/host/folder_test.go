package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCheckFolders requires that a folder that the agent can't use is refused with its path,
// the reason and the remedy, and that the check changes nothing.
func TestCheckFolders(t *testing.T) {
	units := Folder{Path: "/etc/systemd/system", Remedy: "add the units to the configuration of the system"}
	programs := Folder{Path: "/opt/shim", Executable: true, Remedy: "mount another file system"}
	state := Folder{Path: "/var/lib/agent", Remedy: "make it writable"}
	for name, test := range map[string]struct {
		mount string // folder; empty: none
		flags uintptr
		want  string // of the error; empty: none
	}{
		"nothing mounted":   {},
		"read-only units":   {"etc/systemd/system", unix.MS_RDONLY, "the agent can't install files in /etc/systemd/system: it is on a read-only file system; add the units to the configuration of the system; nothing was changed; the label image-cri-shim.io/enabled=false keeps the agent off this node"},
		"read-only /opt":    {"opt", unix.MS_RDONLY, "/opt/shim: it is on a read-only file system; mount another file system;"},
		"noexec /opt":       {"opt", unix.MS_NOEXEC, "/opt/shim: its file system is mounted noexec, so the shim can't run from there; mount"},
		"noexec state":      {".", unix.MS_NOEXEC, "/opt/shim: its file system is mounted noexec"},
		"units in memory":   {"etc", 0, "/etc/systemd/system: it is in memory and lost at a reboot, but kubelet's files are not; add"},
		"program in memory": {"opt", 0, "/opt/shim: it is in memory"},
		"all in memory":     {".", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if test.mount != "" {
				var system unix.Statfs_t
				if err := unix.Statfs(root, &system); err != nil || system.Type == unix.TMPFS_MAGIC && test.flags == 0 {
					t.Skip("the folder for temporary files is in memory: ", err)
				}
				folder := filepath.Join(root, test.mount)
				if err := os.MkdirAll(folder, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := unix.Mount("tmpfs", folder, "tmpfs", test.flags, ""); err != nil {
					t.Skip("this user can't mount: ", err)
				}
				t.Cleanup(func() { _ = unix.Unmount(folder, 0) })
			}
			before, err := os.ReadDir(root)
			if err != nil {
				t.Fatal(err)
			}
			err = CheckFolders(root, units, programs, state)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %q", err, test.want)
			}
			if after, err := os.ReadDir(root); err != nil || len(after) != len(before) {
				t.Errorf("folders %v, before %v, %v", after, before, err)
			}
		})
	}
}

// TestCheckPlaces requires that something else in the place of a folder is refused if the folder
// could not be created there, and that links to folders are followed.
func TestCheckPlaces(t *testing.T) {
	folder := Folder{Path: "/opt/shim", Executable: true, Remedy: "correct it"}
	for name, test := range map[string]struct {
		prepare func(root string) error
		want    string // of the error; empty: none
	}{
		"link to a folder": {func(root string) error {
			return errors.Join(os.Mkdir(filepath.Join(root, "data"), 0o755), os.Symlink("data", filepath.Join(root, "opt")))
		}, ""},
		"link to nothing": {func(root string) error { return os.Symlink("data", filepath.Join(root, "opt")) }, "/opt is a symbolic link to a folder that does not exist; correct it"},
		"last is a link to nothing": {func(root string) error {
			return errors.Join(os.Mkdir(filepath.Join(root, "opt"), 0o755), os.Symlink("../data", filepath.Join(root, "opt/shim")))
		}, "/opt/shim is a symbolic link to a folder that does not exist"},
		"loop": {func(root string) error { return os.Symlink("opt", filepath.Join(root, "opt")) }, "too many levels of symbolic links"},
		"file": {func(root string) error { return os.WriteFile(filepath.Join(root, "opt"), nil, 0o600) }, "/opt is not a folder"},
		"last is a file": {func(root string) error {
			return errors.Join(os.Mkdir(filepath.Join(root, "opt"), 0o755), os.WriteFile(filepath.Join(root, "opt/shim"), nil, 0o600))
		}, "/opt/shim is not a folder"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if err := test.prepare(root); err != nil {
				t.Fatal(err)
			}
			err := CheckFolders(root, folder)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %q", err, test.want)
			}
			if made := os.MkdirAll(filepath.Join(root, folder.Path), 0o755); (made == nil) != (err == nil) {
				t.Errorf("the folder is created with the error %v", made)
			}
		})
	}
}
