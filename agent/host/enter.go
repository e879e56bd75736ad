// Package host works on the files of the node. It enters the node's root folder from a
// container, and writes files so that a process that is killed at any point leaves either the
// former or the new content.
package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// machineIDFile is the path of machine-id(5).
const machineIDFile = "/etc/machine-id"

// Enter makes root the root and working folder of this process. root is the folder on which
// the node's root folder is mounted. It must be the root folder of process 1, so that a pod
// without hostPID, or with another folder in this place, changes nothing.
func Enter(root string) error { return enter(root, "/proc/1/root") }

func enter(root, nodeRoot string) error {
	if err := checkRoot(root, nodeRoot); err != nil {
		return err
	}
	if err := unix.Chroot(root); err != nil {
		return fmt.Errorf("enter the node's root %s: chroot (needs a privileged container): %w", root, err)
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("enter the node's root %s: %w", root, err)
	}
	return nil
}

// checkRoot returns an error unless both paths lead to the same folder with the same machine-id.
func checkRoot(root, nodeRoot string) error {
	mounted, err := os.Stat(root)
	if err != nil {
		return fmt.Errorf("find the node's root: %w", err)
	}
	node, err := os.Stat(nodeRoot)
	if err != nil {
		return fmt.Errorf("find the root of process 1 (needs hostPID: true and a privileged container): %w", err)
	}
	if !os.SameFile(mounted, node) {
		return fmt.Errorf("%s is not the root of process 1: mount the host's / there, and set hostPID: true", root)
	}
	id, err := readMachineID(filepath.Join(root, machineIDFile))
	if err != nil {
		return err
	}
	nodeID, err := readMachineID(filepath.Join(nodeRoot, machineIDFile))
	if err != nil {
		return err
	}
	if id != nodeID {
		return fmt.Errorf("%s below %s differs from that of process 1", machineIDFile, root)
	}
	return nil
}

// MachineID returns the ID in /etc/machine-id.
func MachineID() (string, error) { return readMachineID(machineIDFile) }

func readMachineID(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the machine-id: %w", err)
	}
	id := strings.TrimSpace(string(content))
	if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
		return "", errors.New(file + " has no machine-id of 32 hexadecimal digits: run systemd-machine-id-setup on the node")
	}
	return id, nil
}
