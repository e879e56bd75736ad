package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"image-cri-shim/admin"
	"image-cri-shim/clients"
	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/unixsocket"
)

func uninstallCommand() *cli.Command {
	return &cli.Command{
		Name:  "uninstall",
		Usage: "point kubelet and crictl back at the endpoints they used before install",
		Description: `uninstall restores the values that install changed, from the copy that install kept, and
removes the copy. Other changes that were made to the files since then stay. Without the
copy, uninstall sets the runtime's socket: cri of the shim's file, or else the runtime of
the running shim, or else the runtime that answers on this node. If only crictl's file
can't be changed, uninstall changes kubelet's files and exits with 1. It also works if the
shim's file has a mistake.`,
		Flags: append(installFlags(),
			&cli.BoolFlag{Name: "check", Usage: "change nothing, and exit with 1 if a client uses the shim"},
			&cli.BoolFlag{Name: "restart-kubelet", Usage: "restart kubelet through systemctl afterwards"}),
		Action: func(c *cli.Context) error {
			if c.Bool("check") {
				return checkPointed(c)
			}
			return edit(c, (*clients.Node).Uninstall)
		},
	}
}

// findRuntime returns the runtime's socket for a configuration without cri, and its source for
// display. The socket is empty if no runtime is known.
func findRuntime(ctx context.Context, stateDirectory string) (socket, source string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var status explain.ShimStatus
	if err := admin.Get(ctx, admin.Socket(stateDirectory), admin.AboutPath, nil, &status); err == nil && status.Runtime != "" {
		return status.Runtime, "the running shim's runtime"
	}
	socket, _ = config.DetectRuntime(ctx) // the error of a file that needs it says more
	return socket, "the detected runtime"
}

// problemOf returns the error for a file of crictl that was left as it is.
func problemOf(changes []clients.Change) error {
	var problems []error
	for _, change := range changes {
		if change.Problem != nil {
			problems = append(problems, fmt.Errorf("uninstall: crictl's endpoint was not changed: %w", change.Problem))
		}
	}
	return errors.Join(problems...)
}

// checkPointed prints the clients that use the shim. The scripts of the packages call it, so
// it also works with an invalid or missing configuration.
func checkPointed(c *cli.Context) error {
	node := nodeOf(c, config.ShimSocket(file(c)), "")
	node.SameSocket = func(a, b string) bool { // /var/run is /run, even if the link is missing
		return unixsocket.Same(a, b) || strings.TrimPrefix(a, "/var") == strings.TrimPrefix(b, "/var")
	}
	places, err := node.ShimEndpoints()
	if err != nil {
		return fmt.Errorf("uninstall: %w", err)
	}
	for _, place := range places {
		fmt.Fprintf(c.App.Writer, "%s points at the shim\n", place)
	}
	if len(places) > 0 {
		return cli.Exit("", 1)
	}
	return nil
}
