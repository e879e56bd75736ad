package bed

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Snapshot describes the files of a node that differ from those of this machine, by their
// path: type, mode, owner and content.
type Snapshot map[string]string

// folders are the folders in a snapshot.
var folders = []string{"etc", "opt", "usr", "var/lib"}

// volatile are the files and folders that systemd and Kubernetes change at any time.
var volatile = []string{
	"etc/.updated",
	"var/lib/cni/",
	"var/lib/kubelet/checkpoints/", "var/lib/kubelet/cpu_manager_state", "var/lib/kubelet/device-plugins/",
	"var/lib/kubelet/dra_manager_state", "var/lib/kubelet/allocated_pods_state", "var/lib/kubelet/actuated_pods_state",
	"var/lib/kubelet/image_manager/", "var/lib/kubelet/memory_manager_state", "var/lib/kubelet/pki/",
	"var/lib/kubelet/plugins/", "var/lib/kubelet/plugins_registry/", "var/lib/kubelet/pod-resources/", "var/lib/kubelet/pods/",
	"var/lib/private/", "var/lib/systemd/",
}

// Snapshot returns the current files of the node.
func (n *Node) Snapshot() (Snapshot, error) {
	snapshot := make(Snapshot)
	root := n.change("")
	for _, folder := range folders {
		err := filepath.WalkDir(n.change(folder), func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed since its folder was read, or the node has no changes
			}
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(volatile, func(v string) bool { return strings.HasPrefix(name+"/", v) || name == v }) {
				if entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			return snapshot.add(root, name)
		})
		if err != nil {
			return nil, fmt.Errorf("read the files of %s: %w", n.Name, err)
		}
	}
	return snapshot, nil
}

// add adds a changed file unless it equals this machine's.
func (s Snapshot) add(root, name string) error {
	changed, err := describe(filepath.Join(root, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if original, err := describe("/" + name); err != nil || original != changed {
		s[name] = changed
	}
	return nil
}

// describe returns the type, mode, owner and content of a file. A device 0:0 means that the
// node has deleted the file.
func describe(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("%s: unknown kind of file system", path)
	}
	description := fmt.Sprintf("%s %d:%d", info.Mode(), stat.Uid, stat.Gid)
	switch {
	case info.Mode()&fs.ModeCharDevice != 0 && stat.Rdev == 0:
		return "deleted", nil
	case info.Mode().IsRegular():
		content, err := hash(path)
		return description + " " + content, err
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		return description + " -> " + target, err
	case info.IsDir():
		value := make([]byte, 1)
		if size, err := unix.Getxattr(path, opaque, value); err == nil && bytes.Equal(value[:size], []byte("y")) {
			return description + " replaced", nil
		}
	}
	return description, nil
}

func hash(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sum.Sum(nil))[:16], nil
}

// Differences returns a line for each file that is not the same in both snapshots.
func (s Snapshot) Differences(later Snapshot) (lines []string) {
	names := maps.Clone(s)
	maps.Copy(names, later)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		before, after := s[name], later[name]
		if before != after {
			lines = append(lines, fmt.Sprintf("%s: was %q, is %q", name, before, after))
		}
	}
	return lines
}
