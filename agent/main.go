// Command image-cri-shim-agent installs image-cri-shim on a node of a cluster, and watches it.
//
// The folders, from the top down:
//
//	cli       commands: flags in, text out
//	rollout   the order of the steps on the node, and the check after each interval
//	status    the status file, which the readiness probe and the command status read
//	metrics   serves the status and the shim's metrics to Prometheus
//	service   the shim as a service of the node's systemd
//	pointing  points kubelet and crictl at the shim, and back
//	systemd   starts, stops and enables units over D-Bus
//	host      enters the node's root, locks it, and writes its files atomically
//	cluster   watches and deletes objects of the cluster
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"image-cri-shim/agent/cli"
)

// grace is the time for the step in progress to end after a signal.
const grace = 2 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		stop() // a second signal ends the process at once
		time.Sleep(grace)
		fmt.Fprintf(os.Stderr, "image-cri-shim-agent: the step in progress did not end within %s of the signal\n", grace)
		os.Exit(1)
	})
	os.Exit(cli.Main(ctx, os.Args, os.Stdout, os.Stderr))
}
