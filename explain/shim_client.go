package explain

import "slices"

// ShimClient is a process that is connected to the shim's socket.
type ShimClient struct {
	Process     int    `json:"pid"`               // -1: unknown, 0: in another PID namespace
	Name        string `json:"process,omitempty"` // of its program, as in /proc/PID/comm
	User        int    `json:"uid"`
	Connections int    `json:"connections"`
	Calls       uint64 `json:"calls"` // without an error, since it has been connected
}

// kubeletPrograms are the names of the processes that contain kubelet: k3s and MicroK8s run
// it inside their own.
var kubeletPrograms = []string{"kubelet", "k3s", "k3s-server", "k3s-agent", "kubelite"}

// IsKubelet reports whether the client is kubelet.
func (c ShimClient) IsKubelet() bool { return slices.Contains(kubeletPrograms, c.Name) }
