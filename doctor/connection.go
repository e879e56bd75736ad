package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

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
	pointed := slices.ContainsFunc(checkKubelet(ctx, n), func(f Finding) bool { return f.Text == usesShim })
	if process := n.findKubelet(); pointed && !unknown && process > 0 {
		hint := "`systemctl restart kubelet`"
		if name := unixsocket.ProcessName(process); name != "kubelet" {
			hint = fmt.Sprintf("restart the unit of %s: `systemctl status %d` shows it", name, process)
		}
		return []Finding{t.warn(hint, "kubelet (pid %d) is not connected to the shim, although its configuration names this socket", process)}
	}
	return nil
}

// findKubelet returns the process ID of a kubelet that was started with the examined files, or
// 0. It must run in the PID namespace of this process.
func (n *node) findKubelet() int {
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
		namespace, _ := os.Readlink(filepath.Join(folder, "ns/pid"))
		if command, _ := os.ReadFile(filepath.Join(folder, "cmdline")); namespace == own && (name != "kubelet" || n.isExamined(string(command))) {
			return process
		}
	}
	return 0
}

// isExamined reports whether the command line of a kubelet names an examined file or the
// shim's socket. The files of k3s and the like have fixed paths, and need no such test.
func (n *node) isExamined(command string) bool {
	return slices.ContainsFunc(strings.Split(command, "\x00"), func(argument string) bool {
		_, value, found := strings.Cut(argument, "=")
		if !found {
			value = argument
		}
		path := strings.TrimPrefix(value, "unix://")
		return slices.Contains(n.Files.Kubelet, path) || path != "" && unixsocket.Same(path, n.Settings.Shim)
	})
}
