// Command kubectl-image_cri_shim is a plugin of kubectl: `kubectl image-cri-shim` shows the
// nodes of a cluster with the state of the shim on each. It reads pods, and changes nothing.
//
// The folders, from the top down:
//
//	cli    flags in, text out, exit codes; connects to the apiserver
//	table  the table and the summary
//	fleet  reads the pods, and concludes the state of each node
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"image-cri-shim/kubectl/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(cli.Main(ctx, os.Args, os.Stdout, os.Stderr))
}
