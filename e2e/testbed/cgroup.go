package testbed

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// cgroupParent returns the control group above the pods of this process. Killed
// containers leave their control groups there, the only files outside the testbed's folder.
func cgroupParent() string { return fmt.Sprintf("/image-cri-shim-testbed-%d", os.Getpid()) }

// removeCgroups removes parent and the control groups below it.
func removeCgroups(parent string) {
	const mount = "/sys/fs/cgroup"
	perController, _ := filepath.Glob(mount + "/*" + parent)
	for _, top := range append(perController, mount+parent) {
		var folders []string
		_ = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				folders = append(folders, path)
			}
			return nil
		})
		// The kernel removes a group that has neither processes nor children,
		// and its files with it.
		for _, folder := range slices.Backward(folders) {
			_ = os.Remove(folder)
		}
	}
}
