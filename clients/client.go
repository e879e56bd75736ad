package clients

import "slices"

// A client is a program that connects to the runtime, and the files that can set its endpoints.
type client struct {
	files []file // Install adds a missing endpoint to the first
	// defaultRuntime is the socket that the client uses if no file sets one; empty if it
	// varies.
	defaultRuntime string
	distribution   *Distribution // nil for kubelet's own files, and for crictl
}

// A file is one file of a client. key is the key in it that sets the runtime's endpoint.
type file struct {
	path     string
	format   format
	key      string
	readOnly bool
	unit     string // systemd unit of a distribution that reads the file; empty for other files
	// initial is the content with which Install creates a missing file; %[1]s is the shim's socket.
	// If it is empty, Install does not create the file.
	initial string
}

func (n *Node) kubelet() client {
	configuration := yamlFormat("containerRuntimeEndpoint", "imageServiceEndpoint")
	files := []file{{path: n.Kubelet, format: configuration, key: "containerRuntimeEndpoint"}}
	for _, path := range append(slices.Clone(n.KubeletDropIns), n.KubeletInstance) {
		files = append(files, file{path: path, format: configuration, key: "containerRuntimeEndpoint"})
	}
	for _, path := range n.KubeletFlags {
		files = append(files, file{path: path, format: flagsFormat, key: "container-runtime-endpoint"})
	}
	for _, path := range n.KubeletUnits {
		files = append(files, file{path: path, format: flagsFormat, key: "container-runtime-endpoint", readOnly: true})
	}
	return client{files: files, defaultRuntime: "/run/containerd/containerd.sock"}
}

// clients returns kubelet with its own files, kubelet of each distribution, and crictl.
func (n *Node) clients() []client {
	all := []client{n.kubelet()}
	for _, d := range n.Distributions {
		all = append(all, d.client())
	}
	if n.Crictl != "" {
		all = append(all, n.crictl())
	}
	return all
}

func (n *Node) crictl() client {
	f := file{path: n.Crictl, format: yamlFormat("runtime-endpoint", "image-endpoint"), key: "runtime-endpoint"}
	if n.CreateCrictl {
		f.initial = "runtime-endpoint: unix://%[1]s\nimage-endpoint: unix://%[1]s\n"
	}
	return client{files: []file{f}}
}
