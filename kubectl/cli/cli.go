// Package cli implements the command kubectl-image_cri_shim. connect.go finds the apiserver,
// usage.go reports wrong arguments, and adds the next step to other errors.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"image-cri-shim/kubectl/fleet"
	"image-cri-shim/kubectl/table"
	"image-cri-shim/version"
)

// The exit codes of errors. Only exitNotReady follows a complete table.
const (
	exitNotReady = 1
	exitFailure  = 2
	exitUsage    = 64 // EX_USAGE of sysexits.h, as the shim's own commands
)

const manual = `image-cri-shim shows the nodes on which the Helm chart of image-cri-shim runs its agent. It
reads pods, and the events of running pods that are not ready, and changes nothing. Nodes
without a pod of the agent are not shown.

The states
   ready, removed      as requested: the shim serves, or the node was taken out
   applying            a step of the agent or its first check is in progress
   refused             the agent refuses the configuration, and keeps the last good one
   waiting             an attempt failed, and the next one waits for its time
   failed, stale       another failure; the agent does not update its status
   not-ready           the pod runs and is not ready, and no event has the reason
   pending, no-image   the pod has not started; the agent's image can't be pulled
   ending, down        the pod is deleted; the node is unreachable or not ready

PULLS FAILING counts the containers of all pods on the node that wait for an image.

EXAMPLES
   kubectl image-cri-shim                     all nodes, those that are not ready first
   kubectl image-cri-shim --not-ready -o wide reasons in full, and the images that fail
   kubectl image-cri-shim -o json worker-1    one node, for a program

EXIT CODES
   0 if all nodes are ready, 1 if one is not, 2 if the cluster could not be read or has no
   agents, or a named node has none, 64 after wrong arguments.`

// Main runs the program and returns its exit code. The first argument is the program's name.
func Main(ctx context.Context, arguments []string, stdout, stderr io.Writer) int {
	err := run(ctx, arguments, stdout, stderr)
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		_, _ = fmt.Fprintln(stderr, "kubectl image-cri-shim: "+text)
	}
	if exit, ok := errors.AsType[cli.ExitCoder](err); ok {
		return exit.ExitCode()
	}
	return exitFailure
}

func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) error {
	app := &cli.App{
		Name:        "kubectl-image_cri_shim",
		HelpName:    "kubectl image-cri-shim",
		Usage:       "show the nodes of a cluster with the state of image-cri-shim",
		UsageText:   "kubectl image-cri-shim [options] [NODE...]",
		Description: manual,
		Version:     version.Short(),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print `FORMAT`: text, wide or json", Value: "text"},
			&cli.BoolFlag{Name: "not-ready", Usage: "print only nodes that are not ready"},
			&cli.StringFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "find agents only in `NAMESPACE`; default: in all, or the context's if that is not permitted"},
			&cli.StringFlag{Name: "context", Usage: "`NAME` of the context in the kubeconfig"},
			&cli.PathFlag{Name: "kubeconfig", Usage: "`FILE` to connect with; default: $KUBECONFIG or ~/.kube/config"},
			&cli.DurationFlag{Name: "timeout", Usage: "maximum `DURATION` of all requests", Value: 5 * time.Minute},
		},
		Action:          show,
		Writer:          stdout,
		ErrWriter:       stderr,
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {}, // Main returns the exit code
		OnUsageError:    flagError,
	}
	return app.RunContext(ctx, splitShortFlags(arguments))
}

// show prints the fleet.
func show(c *cli.Context) error {
	if err := checkArguments(c); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	core, namespace, err := connect(c.Path("kubeconfig"), c.String("context"))
	if err != nil {
		return err
	}
	f, err := fleet.Read(ctx, core, fleet.Options{
		Namespace: c.String("namespace"), Fallback: namespace,
		Nodes: c.Args().Slice(), NotReady: c.Bool("not-ready"),
	})
	if err != nil {
		return withHint(ctx, c, err)
	}
	if err := write(c.App.Writer, f, c.String("output")); err != nil {
		return fmt.Errorf("print the nodes: %w", err)
	}
	if f.Summary.Ready < f.Summary.Nodes {
		return cli.Exit("", exitNotReady)
	}
	return nil
}

func write(w io.Writer, f *fleet.Fleet, format string) error {
	if format == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(f)
	}
	return table.Write(w, f, table.Options{Wide: format == "wide", Width: terminalWidth(w), Now: time.Now()})
}

// terminalWidth returns the number of columns if w is a terminal, and otherwise 0.
func terminalWidth(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}
