package bed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const cgroups = "/sys/fs/cgroup"

// hierarchies returns the mounted hierarchies of control groups, by the name of their folder.
func hierarchies() (names []string) {
	entries, _ := os.ReadDir(cgroups)
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names
}

// checkGroups returns an error unless the control groups are those of version 1, which
// node.sh prepares.
func checkGroups() error {
	for _, name := range []string{"cpu", "cpuset", "memory", "pids", "systemd", "unified"} {
		if !slices.Contains(hierarchies(), name) {
			return fmt.Errorf("the hierarchy %s of control groups version 1 is not mounted", name)
		}
	}
	return nil
}

// group returns the name of a node's control group.
func group(folder, node string) string { return filepath.Base(folder) + "-" + node }

// removeGroup removes a control group and those below it. Their processes have ended, but
// the kernel may still remove them.
func removeGroup(top string) error {
	var folders []string
	_ = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		return nil
	})
	for _, folder := range slices.Backward(folders) {
		deadline := time.Now().Add(10 * time.Second)
		for {
			err := os.Remove(folder)
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				break
			}
			if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
				return fmt.Errorf("remove a control group: %w", err)
			}
			time.Sleep(pollInterval)
		}
	}
	return nil
}
