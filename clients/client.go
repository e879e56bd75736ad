package clients

import "slices"

// A client is a program, and the files that may set its endpoints.
type client struct {
	files []file // an endpoint that none of them sets is set in the first
	// defaultRuntime is the runtime's socket if no file names one; empty if it varies.
	defaultRuntime string
}

// A file is one of a client's, and the key in it that names the runtime.
type file struct {
	path     string
	format   format
	key      string
	readOnly bool
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

func (n *Node) crictl() client {
	return client{files: []file{{path: n.Crictl, format: yamlFormat("runtime-endpoint", "image-endpoint"), key: "runtime-endpoint"}}}
}
