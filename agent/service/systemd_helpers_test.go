package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"image-cri-shim/agent/systemd"
)

// nodeRoot is the environment variable with the folder in which runShim runs the shim.
const nodeRoot = "AGENT_SERVICE_TEST_ROOT"

// runShim executes a command with a folder as its root. The first argument is the path of the
// socket that it passes like systemd, or empty for none.
func runShim(root string, arguments []string) error {
	if err := syscall.Chroot(root); err != nil {
		return err
	}
	socket, command := arguments[0], arguments[1:]
	_ = os.Unsetenv(nodeRoot)
	if socket != "" {
		_ = os.Remove(socket) // of the process before
		listener, err := net.Listen("unix", socket)
		if err != nil {
			return err
		}
		file, err := listener.(*net.UnixListener).File()
		if err != nil {
			return err
		}
		if err := errors.Join(os.Chmod(socket, 0o755), syscall.Dup3(int(file.Fd()), 3, 0)); err != nil {
			return err
		}
		_ = os.Setenv("LISTEN_FDS", "1")
		_ = os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	}
	return syscall.Exec(command[0], command, os.Environ())
}

// testSystemd is a service manager for a node in a folder. It runs the shim of the service unit
// in that folder as its root. Unlike that of systemd, the socket ends with the shim.
type testSystemd struct {
	t       *testing.T
	root    string
	loaded  map[string]string // text of units by name, as of the last Reload
	enabled map[string]bool
	listens bool // the socket unit is active
	shim    *exec.Cmd
	started time.Time
	calls   []string
	onCall  func(call string) // nil: none
	kill    int               // number of calls until the caller is killed; 0: never
}

// errKilled is the panic in the place of a kill.
var errKilled = errors.New("killed")

func (s *testSystemd) call(name string, arguments ...string) {
	s.calls = append(s.calls, strings.Join(append([]string{name}, arguments...), " "))
	if s.onCall != nil {
		s.onCall(s.calls[len(s.calls)-1])
	}
	if s.kill--; s.kill == 0 {
		panic(errKilled)
	}
}

// files returns the text of the units, with their drop-ins.
func (s *testSystemd) files() map[string]string {
	units := map[string]string{}
	for _, name := range []string{serviceUnit, socketUnit} {
		for _, path := range []string{"/usr/lib/systemd/system/" + name, unitFolder + "/" + name, dropInOf(name)} {
			if content, err := os.ReadFile(filepath.Join(s.root, path)); err == nil {
				units[name] += string(content)
			}
		}
	}
	return units
}

func (s *testSystemd) Reload(context.Context) error {
	s.call("reload")
	s.loaded = s.files()
	return nil
}

func (s *testSystemd) Enable(ctx context.Context, units ...string) error {
	s.call("enable", units...)
	for _, unit := range units {
		if s.files()[unit] == "" {
			return fmt.Errorf("%s has no file", unit)
		}
		s.enabled[unit] = true
	}
	return s.Reload(ctx)
}

func (s *testSystemd) Disable(ctx context.Context, units ...string) error {
	s.call("disable", units...)
	for _, unit := range units {
		delete(s.enabled, unit)
	}
	return s.Reload(ctx)
}

func (s *testSystemd) Start(ctx context.Context, unit string) error {
	s.call("start", unit)
	if unit == serviceUnit {
		return s.run(ctx)
	}
	unitState, err := s.Unit(ctx, socketUnit)
	if err != nil {
		return err
	}
	for _, link := range unitState.Symlinks {
		_ = os.Symlink(unitState.Listen[0], filepath.Join(s.root, link)) // may exist
	}
	s.listens = true
	return nil
}

func (s *testSystemd) Restart(ctx context.Context, unit string) error {
	s.call("restart", unit)
	s.end()
	return s.run(ctx)
}

func (s *testSystemd) Stop(ctx context.Context, unit string) error {
	s.call("stop", unit)
	if unit == serviceUnit {
		s.end()
		return nil
	}
	socket, err := s.Unit(ctx, socketUnit)
	for _, path := range slices.Concat(socket.Listen, socket.Symlinks) {
		_ = os.Remove(filepath.Join(s.root, path)) // may be missing
	}
	s.listens = false
	return err
}

func (s *testSystemd) ReloadUnit(_ context.Context, unit string) error {
	s.call("reload", unit)
	return s.shim.Process.Signal(syscall.SIGHUP)
}

func (s *testSystemd) ResetFailed(context.Context, ...string) error { return nil }

// run starts the command of the service unit.
func (s *testSystemd) run(ctx context.Context) error {
	if s.shim != nil {
		return nil
	}
	var command []string
	for line := range strings.Lines(s.loaded[serviceUnit]) {
		if start, ok := strings.CutPrefix(strings.TrimSpace(line), "ExecStart="); ok {
			command = strings.Fields(start)
		}
	}
	if command == nil {
		return fmt.Errorf("%s has no command", serviceUnit)
	}
	notes, err := os.Create(filepath.Join(s.root, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = notes.Close() }()
	socket, err := s.Unit(ctx, socketUnit)
	if err != nil {
		return err
	}
	passed := ""
	if s.listens {
		passed = socket.Listen[0]
	}
	shim := exec.Command(os.Args[0], append([]string{"--", passed}, command...)...)
	shim.Env = append(os.Environ(), nodeRoot+"="+s.root)
	shim.Stdout, shim.Stderr = notes, notes
	shim.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := shim.Start(); err != nil {
		return err
	}
	s.shim, s.started = shim, time.Now()
	return nil
}

func (s *testSystemd) end() {
	if s.shim == nil {
		return
	}
	_ = s.shim.Process.Signal(syscall.SIGTERM)
	_ = s.shim.Wait() // the shim's log has the reason
	s.shim = nil
}

func (s *testSystemd) Unit(_ context.Context, name string) (systemd.Unit, error) {
	files := s.files()
	text, loaded := s.loaded[name]
	if !loaded {
		text = files[name]
	}
	if text == "" && (name != serviceUnit || s.shim == nil) {
		return systemd.Unit{Load: "not-found", Active: "inactive"}, nil
	}
	unit := systemd.Unit{Load: "loaded", Active: "inactive", FileState: "disabled", Stale: loaded && !maps.Equal(files, s.loaded)}
	if s.enabled[name] {
		unit.FileState = "enabled"
	}
	if name == serviceUnit && s.shim != nil {
		unit.Active, unit.MainPID, unit.Started = "active", s.shim.Process.Pid, s.started
	}
	if name == socketUnit {
		if s.listens {
			unit.Active = "active"
		}
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			if listen, ok := strings.CutPrefix(line, "ListenStream="); ok {
				unit.Listen = []string{listen}
			}
			if links, ok := strings.CutPrefix(line, "Symlinks="); ok {
				unit.Symlinks = strings.Fields(links)
			}
		}
		unit.Listen = slices.DeleteFunc(unit.Listen, func(listen string) bool { return listen == "" })
	}
	return unit, nil
}
