package testbed

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// Machine runs a real systemd as process 1 of its own namespaces. It sees the files of this
// machine; its changes to them stay in memory and end with it. Services that are enabled
// on this machine do not run in it. It shares this machine's network.
type Machine struct{ process *process }

// MachineOptions configures a machine.
type MachineOptions struct {
	Folder string            // for its log; created if missing
	Mounts map[string]string // folders of this machine, by their path inside
}

// enterMachine is the shell script that prepares the machine and executes the command in $@.
//
//go:embed machine.sh
var enterMachine string

const machineNamespaces = namespaces | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC

const systemd = "/lib/systemd/systemd"

// machineGroup returns the control group of this process's machine.
func machineGroup() string { return cgroupParent() + "-machine" }

// arguments returns the arguments of the shell that runs enterMachine.
func (o MachineOptions) arguments(command ...string) []string {
	arguments := []string{"-c", enterMachine, "machine.sh", o.Folder, machineGroup()}
	for inside, outside := range o.Mounts {
		arguments = append(arguments, outside, inside)
	}
	return append(append(arguments, "--"), command...)
}

// MachineMissing returns the reason why no machine can be started here, or nil if one can.
// It tries everything except systemd itself.
func MachineMissing() error {
	if os.Geteuid() != 0 {
		return errors.New("not root")
	}
	for _, binary := range []string{systemd, "systemctl", "mount", "nsenter", "pivot_root", "setpriv", "unshare"} {
		if _, err := exec.LookPath(binary); err != nil {
			return fmt.Errorf("%s is not installed", binary)
		}
	}
	folder, err := os.MkdirTemp("", "machine-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	defer removeCgroups(machineGroup())
	cmd := exec.Command("/bin/sh", MachineOptions{Folder: folder}.arguments("true")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: machineNamespaces}
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("namespaces, mounts or control groups are not allowed: %w: %s", err, bytes.TrimSpace(output))
	}
	return nil
}

// StartMachine starts a machine and returns once it has booted. A process can have one
// machine at a time; it ends with the process.
func StartMachine(ctx context.Context, options MachineOptions) (*Machine, error) {
	inside := filepath.Join(options.Folder, "inside")
	if err := os.MkdirAll(inside, 0o700); err != nil {
		return nil, fmt.Errorf("start a machine: %w", err)
	}
	log := filepath.Join(options.Folder, "log")
	options.Folder = inside
	process, err := startProcess(log, machineNamespaces, "/bin/sh", options.arguments(systemd, "--unit=basic.target")...)
	if err != nil {
		return nil, fmt.Errorf("start a machine: %w", err)
	}
	m := &Machine{process: process}
	if err := process.waitUntil(ctx, func() error {
		_, err := m.Run(ctx, "systemctl", "is-active", "basic.target")
		return err
	}); err != nil {
		m.Stop()
		return nil, fmt.Errorf("start a machine: %w", err)
	}
	return m, nil
}

// Stop ends the machine without shutting it down, like a power failure.
func (m *Machine) Stop() {
	m.process.kill()
	removeCgroups(machineGroup())
}

// Path returns the path under which this process finds a file or socket of the machine.
func (m *Machine) Path(file string) string {
	return filepath.Join("/proc", strconv.Itoa(m.process.pid), "root", file)
}

// Run runs a command on the machine and returns its output. An error contains the output
// too.
func (m *Machine) Run(ctx context.Context, command ...string) (string, error) {
	enter := []string{"--target", strconv.Itoa(m.process.pid), "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--wdns=/", "--"}
	output, err := exec.CommandContext(ctx, "nsenter", append(enter, command...)...).CombinedOutput()
	output = bytes.TrimSpace(output)
	if err != nil {
		return string(output), fmt.Errorf("%s on the machine: %w: %s", command, err, output)
	}
	return string(output), nil
}
