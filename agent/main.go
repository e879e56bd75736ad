// Command image-cri-shim-agent installs image-cri-shim on a node of a cluster, and watches it.
package main

func main() {}
