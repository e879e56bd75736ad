// Package bed starts a real Kubernetes cluster of two nodes on one Linux machine, for tests.
//
// [Isolate] runs the tests in namespaces of their own. [Start] starts the control plane, a
// private registry and the nodes there:
//
//	etcd, kube-apiserver, kube-controller-manager, kube-scheduler    processes
//	registry with a password at 10.178.0.1:5000                      this process
//	node1, node2                                                     machines with systemd
//
// A [Node] has its own root file system, network, process IDs and control groups. systemd
// runs containerd and kubelet in it, with the files that kubeadm writes. No name of a public
// registry leads anywhere, so only the shim can pull such an image: from the private
// registry.
//
// [StartFleet] starts one node, and kwok, which simulates thousands of nodes and their pods.
package bed
