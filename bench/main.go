// Bench compares the shim, with each of its engines, to other proxies between a client
// and a container runtime. README.md describes the measurements and how to read the
// results.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err != nil && interrupted:
		fmt.Fprintln(os.Stderr, "bench: interrupted")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string, output io.Writer) error {
	if len(arguments) > 0 && arguments[0] == "contender" {
		return serveRole(ctx, arguments[1:])
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	short := flags.Bool("quick", false, "run for a minute to check that everything works; too short for conclusions")
	only := flags.String("only", "", "measure only workloads whose names match `REGEXP`, and only their times; print the results without saving them")
	folder := flags.String("results", "", "write the results to this `folder` (default results, or results/quick for a quick run)")
	if err := flags.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	size, into := full, "results"
	if *short {
		size, into = quick, filepath.Join("results", "quick")
	}
	into = cmp.Or(*folder, into)
	selected, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	r, err := runBench(ctx, size, selected, output)
	if err != nil {
		return err
	}
	if *only != "" {
		_, err := output.Write(r.markdown())
		return errors.Join(err, r.failure())
	}
	if err := r.write(into); err != nil {
		return err
	}
	r.printTargets(output)
	return r.failure()
}
