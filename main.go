// image-cri-shim takes the place of a container runtime's CRI socket and lets a node's
// private registries serve the images that they have. README.md says how to use it, and
// docs/design.md how it is made.
//
// The folders, from the top down:
//
//	cli         commands: flags in, text out
//	daemon      the running program: configuration, calls, metrics, page, systemd
//	lookup      opens the registries of a configuration
//	doctor      finds what is wrong on the node
//	explain     says which registry would serve an image, and why
//	proxy       forwards gRPC, and hands over the messages that are to be changed
//	rewrite     changes the image names in CRI messages
//	registry    asks the registries, with their credentials
//	config      reads and checks the configuration
//	trace       shows the calls of clients
//	metrics     counts calls for Prometheus
//	page        shows the daemon in a browser
//	admin       the socket on which the running daemon answers commands
//	clients     edits the files that point kubelet and crictl at a socket
package main

import (
	"context"
	"os"

	"image-cri-shim/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args, os.Stdout, os.Stderr))
}
