package service

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"image-cri-shim/agent/host"
	"image-cri-shim/agent/systemd"
	"image-cri-shim/packaging"
)

// The socket of active clients stays, and other paths lead to it.
func TestSocketOf(t *testing.T) {
	const first, second = "/run/image-cri-shim.sock", "/run/second/shim.sock"
	for name, test := range map[string]struct {
		shim    string
		unit    systemd.Unit
		listen  string
		aliases []string
	}{
		"first installation":      {"", systemd.Unit{}, first, nil},
		"active":                  {"", systemd.Unit{Active: "active", Listen: []string{first}}, first, nil},
		"other path, active":      {second, systemd.Unit{Active: "active", Listen: []string{first}}, first, []string{second}},
		"back again":              {first, systemd.Unit{Active: "active", Listen: []string{first}, Symlinks: []string{second}}, first, []string{second}},
		"other path, inactive":    {second, systemd.Unit{Active: "inactive", Listen: []string{first}}, second, []string{first}},
		"third path, inactive":    {"/run/third.sock", systemd.Unit{Active: "inactive", Listen: []string{first}, Symlinks: []string{second}}, "/run/third.sock", []string{first, second}},
		"below the legacy folder": {"/var/run/image-cri-shim.sock", systemd.Unit{Active: "active", Listen: []string{first}}, first, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newBelow(t.TempDir(), nil, Release{}, nil)
			got := s.socketOf(t.Context(), parsed(t, "cri: /run/runtime.sock\nshim: "+test.shim+"\n"), test.unit)
			if got.listen != test.listen || !slices.Equal(got.aliases, test.aliases) {
				t.Errorf("listens on %s with links %q, want %s and %q", got.listen, got.aliases, test.listen, test.aliases)
			}
		})
	}
}

// The socket has the owner and mode of the runtime's.
func TestSocketAccess(t *testing.T) {
	root := t.TempDir()
	s := newBelow(root, nil, Release{}, nil)
	settings := parsed(t, "cri: /runtime.sock\n")
	if owner, mode := s.socketAccess(t.Context(), settings, "/shim.sock"); owner != (host.Owner{}) || mode != 0o660 {
		t.Errorf("without a runtime: %v %v", owner, mode)
	}
	short, err := os.MkdirTemp("", "access-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(short) }()
	serveRuntime(t, filepath.Join(short, "runtime.sock"))
	if err := os.Chmod(filepath.Join(short, "runtime.sock"), 0o620); err != nil {
		t.Fatal(err)
	}
	s.root = short
	if owner, mode := s.socketAccess(t.Context(), settings, "/shim.sock"); owner.UID != os.Geteuid() || mode != 0o620 {
		t.Errorf("with a runtime: %v %v", owner, mode)
	}
}

func TestUnitFiles(t *testing.T) {
	s := newBelow(t.TempDir(), nil, Release{}, nil)
	settings := parsed(t, "image: /data/shim state\nshim: /srv/100%/shim.sock\n")
	shim := socket{listen: settings.Shim, aliases: []string{"/run/a.sock", "/run/b c.sock"}, owner: host.Owner{UID: 1, GID: 2}, mode: 0o600}
	units := s.unitFiles(settings, shim, systemd.Unit{})
	for i, want := range [][]string{
		{"ListenStream=/srv/100%%/shim.sock", "SocketUser=1", "SocketGroup=2", "SocketMode=0600", `Symlinks=/run/a.sock "/run/b c.sock"`, "RemoveOnStop=yes", "WantedBy=sockets.target"},
		{"ExecStart=/opt/image-cri-shim/current/image-cri-shim --file /etc/image-cri-shim.yaml", "ReadWritePaths=-/srv/100%%", `ReadWritePaths="/data/shim state"`, `RequiresMountsFor="/data/shim state"`, "ReadWritePaths=/run", "StateDirectory=image-cri-shim"},
	} {
		for _, line := range want {
			if count := strings.Count("\n"+string(units[i].content), "\n"+line+"\n"); count != 1 {
				t.Errorf("%s has the line %s %d times:\n%s", units[i].path, line, count, units[i].content)
			}
		}
		for _, key := range []string{"ExecStart=", "ListenStream=", "SocketMode="} {
			if strings.Count(string(units[i].content), "\n"+key) > 1 {
				t.Errorf("%s has %s twice", units[i].path, key)
			}
		}
	}
}

// Without other settings, the units differ from the packages' only in the lines that must.
func TestUnitFilesByDefault(t *testing.T) {
	s := newBelow(t.TempDir(), nil, Release{}, nil)
	settings := parsed(t, "address: http://hub:5000\n")
	units := s.unitFiles(settings, socket{listen: canonical(settings.Shim), mode: 0o660}, systemd.Unit{})
	for i, packaged := range []string{packaging.Socket, packaging.Service} {
		before, after := strings.Split(packaged, "\n"), strings.Split(string(units[i].content), "\n")
		if len(before) != len(after) {
			t.Errorf("%s has %d lines, the package's %d", units[i].path, len(after), len(before))
			continue
		}
		for line := range before {
			key, _, _ := strings.Cut(before[line], "=")
			if before[line] != after[line] && !slices.Contains([]string{"ExecStart", "SocketUser", "SocketGroup"}, key) {
				t.Errorf("%s: %s instead of %s", units[i].path, after[line], before[line])
			}
		}
	}
}
