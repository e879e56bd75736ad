// Bounds measures the shim with registries that fail and with many pulls at once, and
// prints each measurement beside the bound that the shim promises. `make bounds` builds
// the shim and runs this program. It uses real sockets of this machine and a runtime
// inside this program. The figures hold for this machine and its load during the run.
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
	"text/tabwriter"

	"k8s.io/klog/v2"
)

func main() {
	shim := flag.String("shim", "../bin/image-cri-shim", "the built shim")
	only := flag.String("only", "", "the only `measurement` to make: outage, return, sharing, pulls or memory")
	names := flag.Int("names", 100_000, "how many distinct names to ask for")
	flag.Parse()
	klog.SetLogger(klog.Logger{}) // kubelet's client would log each error that it returns
	_ = os.Setenv("GODEBUG", "gctrace=1")

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, *shim, *names, *only)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bounds:", err)
		os.Exit(1)
	}
}

// run makes the measurements in order, each with a new shim.
func run(ctx context.Context, output io.Writer, shim string, names int, only string) error {
	table := tabwriter.NewWriter(output, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "measurement\tmeasured\tbound")
	for _, of := range []struct {
		name    string
		measure func(context.Context, *node, report) error
	}{
		{"outage", measureOutage},
		{"return", measureReturn},
		{"sharing", measureSharing},
		{"pulls", measureNaming},
		{"memory", func(ctx context.Context, n *node, row report) error { return measureMemory(ctx, n, row, names) }},
	} {
		if only != "" && only != of.name {
			continue
		}
		err := withNode(ctx, shim, func(n *node) error {
			return of.measure(ctx, n, func(what, measured, bound string) {
				fmt.Fprintf(table, "%s\t%s\t%s\n", what, measured, bound)
			})
		})
		if err != nil {
			return errors.Join(err, table.Flush())
		}
	}
	return table.Flush()
}

// report prints one row of the table.
type report func(what, measured, bound string)
