package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"image-cri-shim/agent/host"
	"image-cri-shim/agent/systemd"
)

// The arguments of TestStepOnMachine.
var (
	step           = flag.String("step", "", "install, drift, reexec or remove the service of this machine; changes its files")
	folder         = flag.String("files", "", "folder with the keys of the Secret")
	releaseVersion = flag.String("release", "", "version of the shim")
	releaseBinary  = flag.String("binary", "", "shim of that version")
)

// TestStepOnMachine is a step of the tests in e2e/agent_service_test.go. They run this test
// binary on a machine that has its own systemd.
func TestStepOnMachine(t *testing.T) {
	if *step == "" {
		t.Skip("changes the machine: only with -step")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := runStep(ctx); err != nil {
		t.Fatal(err)
	}
}

func runStep(ctx context.Context) error {
	if err := host.Enter("/"); err != nil {
		return err
	}
	release, err := host.Lock(ctx, "/run/image-cri-shim-agent.lock")
	if err != nil {
		return err
	}
	defer release()
	manager, err := systemd.Connect(ctx)
	if err != nil {
		return err
	}
	defer manager.Close()
	s := New(manager, Release{Version: *releaseVersion, Binary: *releaseBinary}, logrus.StandardLogger())
	files := Files{}
	entries, err := os.ReadDir(*folder)
	if err != nil && *folder != "" {
		return err
	}
	for _, entry := range entries {
		if files[entry.Name()], err = os.ReadFile(filepath.Join(*folder, entry.Name())); err != nil {
			return err
		}
	}
	switch *step {
	case "install":
		return installOnMachine(ctx, s, files)
	case "drift":
		drift, err := s.Drift(ctx, files)
		for _, difference := range drift {
			fmt.Println("drift:", difference)
		}
		return err
	case "reexec":
		if output, err := exec.CommandContext(ctx, "systemctl", "daemon-reexec").CombinedOutput(); err != nil {
			return fmt.Errorf("re-execute systemd: %w: %s", err, output)
		}
		if unit, err := manager.Unit(ctx, serviceUnit); err != nil || !unit.IsActive() {
			return fmt.Errorf("the unit is %q after systemctl daemon-reexec: %w", unit.Active, err)
		}
		return manager.Restart(ctx, serviceUnit)
	case "remove":
		err := s.Remove(ctx)
		if removeErr := os.Remove(host.StateFolder); !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
		return err
	}
	return fmt.Errorf("unknown step %s", *step)
}

func installOnMachine(ctx context.Context, s *Service, files Files) error {
	if err := s.InstallBinary(ctx); err != nil {
		return err
	}
	settings, err := s.Check(ctx, files)
	if err != nil {
		return err
	}
	registries, err := s.LookUp(ctx, settings)
	if err != nil {
		return err
	}
	for _, r := range registries {
		fmt.Printf("registry: %s %t %v\n", r.Address, r.Reachable, r.Err)
	}
	restarted, err := s.Apply(ctx, files)
	if err != nil {
		return err
	}
	fmt.Println("restarted:", restarted)
	return s.Probe(ctx)
}
