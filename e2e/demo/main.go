// Demo runs the shim with real components: a private registry with credentials,
// containerd (or, where containerd can't run, a runtime inside this program), the shim
// between client and runtime, and kubelet's own client code, which requests images.
// `make demo` builds the shim and runs this program.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/klog/v2"
)

// limit is the maximum duration of the demo.
const limit = time.Minute

func main() {
	shim := flag.String("shim", "../bin/image-cri-shim", "the built shim")
	keep := flag.Bool("keep", false, "keep the folder with all logs")
	flag.Parse()
	klog.SetLogger(klog.Logger{}) // the demo prints the errors that kubelet's client would log

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	err := run(ctx, os.Stdout, *shim, *keep)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "\ninterrupted; everything is stopped and removed")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run runs the demo in a temporary folder, which it removes unless keep is set.
func run(ctx context.Context, output io.Writer, shim string, keep bool) (err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	folder, err := os.MkdirTemp("", "image-cri-shim-demo-")
	if err != nil {
		return fmt.Errorf("create a folder: %w", err)
	}
	defer func() {
		if keep {
			fmt.Fprintln(output, "\nThe logs are in", folder)
			return
		}
		err = errors.Join(err, os.RemoveAll(folder))
	}()
	node, err := startNode(ctx, output, folder, shim)
	defer node.stop()
	if err != nil {
		return err
	}
	return errors.Join(node.show(ctx, output), ctx.Err())
}
