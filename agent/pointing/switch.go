package pointing

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
	"time"

	"image-cri-shim/agent/host"
)

// The units of the switch. The timer starts the service, which is also started at boot.
const (
	revertService = "image-cri-shim-revert.service"
	revertTimer   = "image-cri-shim-revert.timer"

	unitFolder = "/etc/systemd/system"
	wantFolder = unitFolder + "/multi-user.target.wants" // of enabled units
)

// The time after which the switch acts. It must be longer than an agent waits for kubelet.
const (
	switchTime               = 2 * time.Minute
	switchTimeOfDistribution = 5 * time.Minute
)

var (
	//go:embed revert.service
	serviceText string
	//go:embed revert.timer
	timerText string

	serviceTemplate = template.Must(template.New(revertService).Funcs(template.FuncMap{"quote": quote}).Parse(serviceText))
)

// revertSwitch points the clients back and restarts kubelet unless it is disarmed. Its state is
// in the unit folder:
//
//	service file | enabled | timer file |
//	no           | no      | no         | disarmed
//	yes          | no      | no         | being armed or disarmed, no file is edited
//	yes          | yes     | any        | armed
//	yes          | no      | yes        | has acted
type revertSwitch struct {
	units   Manager
	root    string
	binary  string   // of the shim
	kubelet string   // unit
	former  []string // sockets of the shim besides the one in the configuration
	after   time.Duration
}

// exists reports whether a file of the node exists.
func (s *revertSwitch) exists(folder, unit string) bool {
	_, err := os.Lstat(filepath.Join(s.root, folder, unit))
	return err == nil
}

func (s *revertSwitch) isArmed() bool { return s.exists(wantFolder, revertService) }

func (s *revertSwitch) hasActed() bool { return s.exists(unitFolder, revertTimer) && !s.isArmed() }

func (s *revertSwitch) hasFiles() bool {
	return s.isArmed() || s.exists(unitFolder, revertService) || s.exists(unitFolder, revertTimer)
}

// arm starts the switch, or starts its time again. When arm returns, the switch also survives a
// power failure.
func (s *revertSwitch) arm(ctx context.Context) error {
	var service bytes.Buffer
	if err := serviceTemplate.Execute(&service, map[string]any{"Binary": s.binary, "Kubelet": s.kubelet, "Former": s.former, "Self": revertService, "Systemctl": s.systemctl()}); err != nil {
		return fmt.Errorf("arm the switch: %w", err)
	}
	folder := filepath.Join(s.root, unitFolder)
	_, err := host.WriteFile(filepath.Join(folder, revertService), service.Bytes(), 0o644)
	if err == nil {
		err = s.units.Enable(ctx, revertService)
	}
	if err == nil {
		err = syncFolders(folder, filepath.Join(s.root, wantFolder))
	}
	if err == nil {
		_, err = host.WriteFile(filepath.Join(folder, revertTimer), fmt.Appendf(nil, timerText, s.after/time.Second), 0o644)
	}
	if err == nil {
		err = s.units.Reload(ctx)
	}
	if err == nil {
		err = s.units.Restart(ctx, revertTimer)
	}
	if err != nil {
		return fmt.Errorf("arm the switch: %w", err)
	}
	return nil
}

// systemctl returns the path of systemctl. systemd before 239 refuses commands without a path.
func (s *revertSwitch) systemctl() string {
	for _, folder := range []string{"/usr/bin", "/bin"} {
		if s.exists(folder, "systemctl") {
			return folder + "/systemctl"
		}
	}
	return "systemctl"
}

// isActing reports whether the service runs, or is about to run again after a failure.
func (s *revertSwitch) isActing(ctx context.Context) (bool, error) {
	unit, err := s.units.Unit(ctx, revertService)
	if err != nil {
		return false, fmt.Errorf("read the state of the switch: %w", err)
	}
	return unit.Active == "activating", nil
}

// act makes the switch act now, and waits until it has.
func (s *revertSwitch) act(ctx context.Context) error {
	if err := s.units.Start(ctx, revertService); err != nil {
		return fmt.Errorf("%s failed, and systemd repeats it; journalctl -u %s shows why: %w", revertService, revertService, err)
	}
	return nil
}

// disarm removes the switch. It reports whether the switch has acted before.
func (s *revertSwitch) disarm(ctx context.Context) (acted bool, err error) {
	if err := s.units.Stop(ctx, revertTimer); err != nil {
		return false, fmt.Errorf("disarm the switch: %w", err)
	}
	acting, err := s.isActing(ctx)
	if err != nil {
		return false, err
	}
	if acting {
		if err := s.act(ctx); err != nil {
			return true, err
		}
	}
	acted = acting || !s.isArmed()
	return acted, s.remove(ctx)
}

// remove deletes the switch. The timer must not run any more.
func (s *revertSwitch) remove(ctx context.Context) error {
	folder := filepath.Join(s.root, unitFolder)
	err := host.Remove(filepath.Join(folder, revertTimer))
	if err == nil && s.isArmed() {
		err = s.units.Disable(ctx, revertService)
	}
	if err == nil {
		err = host.Remove(filepath.Join(folder, revertService))
	}
	if err == nil {
		err = syncFolders(folder, filepath.Join(s.root, wantFolder))
	}
	if err == nil {
		err = s.units.Reload(ctx)
	}
	if err == nil { // systemd would go on listing a service that has failed
		err = s.units.ResetFailed(ctx, revertService)
	}
	if err != nil {
		return fmt.Errorf("disarm the switch: %w", err)
	}
	return nil
}

// syncFolders makes the entries of folders survive a power failure. A folder may be missing.
func syncFolders(paths ...string) error {
	for _, path := range paths {
		if err := host.SyncFolder(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sync %s: %w", path, err)
		}
	}
	return nil
}

// quote returns an argument in the quotes of systemd's command lines.
func quote(argument string) string {
	return strings.NewReplacer("%", "%%", "$", "$$").Replace(strconv.Quote(argument))
}
