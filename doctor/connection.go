package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"image-cri-shim/explain"
	"image-cri-shim/unixsocket"
)

// checkKubeletConnection reports whether kubelet is connected to the running shim. kubelet
// reads its configuration only at its start.
func checkKubeletConnection(ctx context.Context, n *node) []Finding {
	if !n.isRunning() || n.shimStatus.Waiting != "" {
		return nil // reported by checkShimSocket or checkRunningShim
	}
	t := topic{"kubelet", n.Settings.Shim}
	unknown := n.shimStatus.Clients == nil
	for _, client := range n.shimStatus.Clients {
		if client.IsKubelet() {
			return []Finding{t.ok("kubelet (pid %d) is connected", client.Process)}
		}
		unknown = unknown || client.Process <= 0
	}
	isOK := func(f Finding) bool { return f.Level == OK }
	pointed := slices.ContainsFunc(checkKubelet(ctx, n), isOK) || slices.ContainsFunc(checkDistributions(ctx, n), isOK)
	process, read := n.findKubelet()
	if !pointed || unknown || process == 0 {
		return nil
	}
	unit := "kubelet"
	if len(n.Files.Distributions) == 1 {
		unit = n.Files.Distributions[0].Unit
	}
	hint := "`systemctl restart " + unit + "`"
	if name := unixsocket.ProcessName(process); name != "kubelet" && len(n.Files.Distributions) != 1 {
		hint = fmt.Sprintf("restart the unit of %s: `systemctl status %d` shows it", name, process)
	}
	switch {
	case read.endpoint != "" && !n.isShim(read.endpoint):
		return []Finding{t.fail(hint+"; if the failure persists, find the source of the flag: `systemctl cat "+unit+"`, and change it there",
			"kubelet (pid %d) runs with --container-runtime-endpoint=%.200s, which overrides its configuration", process, read.endpoint)}
	case !n.examined(read.config):
		return []Finding{t.warn("examine this file: add --kubelet-config "+read.config+" to the arguments of doctor, and of install",
			"kubelet (pid %d) is not connected to the shim, and was started with a file that the doctor did not read: %s", process, read.config)}
	}
	return []Finding{t.fail(hint, "kubelet (pid %d) is not connected to the shim, although its configuration names this socket", process)}
}

// findKubelet returns the process ID and the settings of a kubelet, or 0. It must run in the
// PID namespace of this process. A kubelet with an examined file is preferred, and one with
// another file does not count if the user named kubelet's file.
func (n *node) findKubelet() (found int, settings kubeletProcess) {
	own, _ := os.Readlink("/proc/self/ns/pid")
	entries, _ := os.ReadDir("/proc") // an unreadable folder has no processes
	for _, entry := range entries {
		process, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		name := unixsocket.ProcessName(process)
		if !(explain.ShimClient{Name: name}).IsKubelet() {
			continue
		}
		folder := filepath.Join("/proc", entry.Name())
		if namespace, _ := os.Readlink(filepath.Join(folder, "ns/pid")); namespace != own {
			continue
		}
		if name != "kubelet" {
			return process, kubeletProcess{} // has its configuration in files with fixed paths
		}
		switch read := readKubeletProcess(folder); {
		case read.config == "" && n.Files.KubeletNamed && !n.isShim(read.endpoint): // does not read that file
		case read.hasFlags && n.examined(read.config):
			return process, read
		case read.hasFlags && !n.Files.KubeletNamed:
			found, settings = process, read
		}
	}
	return found, settings
}

// examined reports whether the doctor has read a kubelet's configuration file. Distributions
// write the file of their kubelet themselves, from the files that the doctor reads.
func (n *node) examined(config string) bool {
	return config == "" || len(n.Files.Distributions) > 0 || slices.ContainsFunc(n.Files.Kubelet, func(file string) bool {
		here, err := os.Stat(file)
		there, problem := os.Stat(config)
		return filepath.Clean(file) == config || err == nil && problem == nil && os.SameFile(here, there)
	})
}
