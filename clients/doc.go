// Package clients points kubelet and crictl, the clients of a container runtime, at
// the shim and back by editing their configuration files.
//
// It changes only the endpoints in a file; comments, order and spacing stay as they
// are. If it does not fully understand a file, it returns an error that names the
// line. A backup beside each edited file keeps the former content, from which
// Uninstall restores the endpoints.
//
//	node := clients.Node{Kubelet: "/var/lib/kubelet/config.yaml", Shim: "/run/image-cri-shim.sock", Runtime: "/run/containerd/containerd.sock"}
//	changes, err := node.Install()
//	for _, change := range changes {
//		fmt.Print(change.Diff())
//		err := change.Apply()
//	}
package clients
