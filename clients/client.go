package clients

// A client is a program, and the files that may set its endpoints.
type client struct {
	files []file // an endpoint that none of them sets is set in the first
	// usual is the runtime that it uses where no file names one; empty if that
	// depends.
	usual string
}

// A file is one of a client's, and the key in it that names the runtime.
type file struct {
	path   string
	format format
	key    string
}

func (n *Node) kubelet() client {
	configuration := yamlFormat("containerRuntimeEndpoint", "imageServiceEndpoint")
	files := []file{
		{n.Kubelet, configuration, "containerRuntimeEndpoint"},
		{n.KubeletInstance, configuration, "containerRuntimeEndpoint"},
	}
	for _, path := range n.KubeletFlags {
		files = append(files, file{path, flagsFormat, "container-runtime-endpoint"})
	}
	return client{files: files, usual: "/run/containerd/containerd.sock"}
}

func (n *Node) crictl() client {
	return client{files: []file{{n.Crictl, yamlFormat("runtime-endpoint", "image-endpoint"), "runtime-endpoint"}}}
}
