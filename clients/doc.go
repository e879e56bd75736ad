// Package clients points the clients of a container runtime at the shim, and
// back, by editing their configuration files.
//
// What it edits are the endpoints that a file sets, and nothing else of it:
// comments, order and spacing stay as they are. A file that it does not fully
// understand it refuses, naming the line. The file as it was before is kept
// beside it, and is where the way back is read from.
//
//	node := clients.Node{Kubelet: "/var/lib/kubelet/config.yaml", Shim: "/run/image-cri-shim.sock", Runtime: "/run/containerd/containerd.sock"}
//	changes, err := node.Install()
//	for _, change := range changes {
//		fmt.Print(change.Diff())
//		err := change.Apply()
//	}
package clients
