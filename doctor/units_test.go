package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/admin"
	"image-cri-shim/config"
)

// TestUnits reads the state of the units from programs in PATH, as systemd reports it.
func TestUnits(t *testing.T) {
	const restarting = "NRestarts=7\nId=image-cri-shim.service\nActiveState=activating\nSubState=auto-restart\n\nId=image-cri-shim.socket\nActiveState=active"
	for name, test := range map[string]struct {
		systemctl, journalctl string
		restarts              bool
		lastError, hint       string
	}{
		"restarts":           {"echo '" + restarting + "'", "printf 'image-cri-shim: bad\\033file\\n'", true, "image-cri-shim: bad file", "correct the cause, then wait"},
		"another socket":     {"echo '" + restarting + "'", "echo systemd passed the socket /a, expected shim /b", true, "systemd passed the socket", "ListenStream=/run/shim.sock"},
		"a socket in use":    {"echo '" + restarting + "'", "echo socket /b is in use", true, "is in use", "ss -lxp | grep /run/shim.sock"},
		"no journal":         {"echo '" + restarting + "'", "exit 1", true, "", "journalctl -u image-cri-shim -n 20"},
		"a large journal":    {"echo '" + restarting + "'", "head -c 1000000 /dev/zero | tr '\\0' x", true, "xxx", "correct the cause"},
		"works":              {"echo NRestarts=3; echo Id=image-cri-shim.service; echo ActiveState=active; echo SubState=running", "echo unused", false, "", ""},
		"first start":        {"echo NRestarts=0; echo Id=image-cri-shim.service; echo ActiveState=activating; echo SubState=start", "echo unused", false, "", ""},
		"systemd is not run": {"exit 1", "echo unused", false, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			for program, script := range map[string]string{"systemctl": test.systemctl, "journalctl": test.journalctl} {
				if err := os.WriteFile(filepath.Join(folder, program), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
			n := &node{Options: Options{Settings: &config.Config{Shim: "/run/shim.sock"}}, shim: criServer{dialErr: os.ErrNotExist}, shimStatusErr: admin.ErrNotRunning, units: readUnits(t.Context())}
			if got := n.units; got.restartsAgain() != test.restarts || !strings.Contains(got.lastError, test.lastError) || len(got.lastError) > lastErrorLimit+10 {
				t.Fatalf("%+v", got)
			}
			text, hint := "does not exist", "systemctl start image-cri-shim"
			if test.restarts {
				text, hint = "the shim restarts again and again", test.hint
			}
			wantFinding(t, checkShimSocket(t.Context(), n), Fail, text, hint)
		})
	}
}

// TestWithoutSystemd requires that a machine without systemd has no units.
func TestWithoutSystemd(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	n := &node{units: readUnits(t.Context())}
	if n.units.service != nil || n.units.restartsAgain() {
		t.Errorf("%+v", n.units)
	}
	wantFinding(t, checkSocketUnit(t.Context(), n), OK, "", "")
}
