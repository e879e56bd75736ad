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
	pointed := slices.ContainsFunc(checkKubelet(ctx, n), func(f Finding) bool { return f.Text == usesShim })
	if process := findKubelet(); pointed && !unknown && process > 0 {
		hint := "`systemctl restart kubelet`"
		if name := unixsocket.ProcessName(process); name != "kubelet" {
			hint = fmt.Sprintf("restart the unit of %s: `systemctl status %d` shows it", name, process)
		}
		return []Finding{t.warn(hint, "kubelet (pid %d) is not connected to the shim, although its configuration names this socket", process)}
	}
	return nil
}

// findKubelet returns the process ID of a kubelet in the PID namespace of this process, or 0.
func findKubelet() int {
	own, _ := os.Readlink("/proc/self/ns/pid")
	entries, _ := os.ReadDir("/proc") // an unreadable folder has no processes
	for _, entry := range entries {
		process, err := strconv.Atoi(entry.Name())
		if err != nil || !(explain.ShimClient{Name: unixsocket.ProcessName(process)}).IsKubelet() {
			continue
		}
		if namespace, _ := os.Readlink(filepath.Join("/proc", entry.Name(), "ns/pid")); namespace == own {
			return process
		}
	}
	return 0
}
