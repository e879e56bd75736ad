// Bounds measures what the shim promises about registries that fail and about
// many pulls at once, and prints it beside the bound. `make bounds` builds the
// shim and runs it. Everything happens on real sockets of this machine, in front
// of a runtime inside this program; what it prints holds for this machine and
// what else that did meanwhile.
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
	klog.SetLogger(klog.Logger{}) // kubelet's client logs each error that it returns
	_ = os.Setenv("GODEBUG", "gctrace=1")

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, *shim, *names, *only)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bounds:", err)
		os.Exit(1)
	}
}

// run makes one measurement after the other, each with a shim of its own.
func run(ctx context.Context, output io.Writer, shim string, names int, only string) error {
	table := tabwriter.NewWriter(output, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "what\tmeasured\tbound")
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
