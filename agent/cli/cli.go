// Package cli implements the commands of image-cri-shim-agent. It parses flags, opens the files
// of the pod, enters the node, and calls the packages that do the work.
//
// Each command has a file with its name. pod.go opens the files of the pod, and node.go enters
// the node: after that, all paths are those of the node. watch.go receives configurations from
// the apiserver. metrics.go serves metrics. log.go has the log, also of client-go. usage.go
// reports wrong arguments.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"image-cri-shim/version"
)

const manual = `image-cri-shim-agent runs in a pod on each node of a cluster. The shim itself is a service of
the node's systemd, which the agent installs, configures and watches. The agent's own end,
also by SIGTERM, changes nothing on the node; only the command remove takes the shim away.

FILES ON THE NODE
   /opt/image-cri-shim                          the shim's versions
   /etc/image-cri-shim.yaml                     the shim's configuration
   /etc/image-cri-shim                          other files of the configuration
   /var/lib/image-cri-shim-agent                the agent's state
   /run/image-cri-shim-agent/status.json        the agent's status
   /run/image-cri-shim-agent.lock               locked by the running agent

EXIT CODES
   0 after success, 1 after a failure or if the node is not ready, 64 after wrong arguments.`

// Main runs the program until ctx ends, and returns its exit code. The first argument is the
// program's name.
func Main(ctx context.Context, arguments []string, stdout, stderr io.Writer) int {
	return program{}.main(ctx, arguments, stdout, stderr)
}

// program is the program with what its tests add to it.
type program struct {
	step func(name string) // called before each step on the node; nil: no call
}

func (p program) main(ctx context.Context, arguments []string, stdout, stderr io.Writer) int {
	err := p.run(ctx, arguments, stdout, stderr)
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(stderr, "image-cri-shim-agent: "+text)
	}
	if exit, ok := errors.AsType[cli.ExitCoder](err); ok {
		return exit.ExitCode()
	}
	return 1
}

// run runs the command in arguments.
func (p program) run(ctx context.Context, arguments []string, stdout, stderr io.Writer) error {
	hook := &cli.Command{
		Name:        "hook",
		Usage:       "the steps of the Helm chart's hooks",
		Subcommands: []*cli.Command{pruneCommand(), awaitRemovalCommand()},
		Action:      missingCommand,
	}
	commands := []*cli.Command{p.agentCommand(), p.removeCommand(), statusCommand(), hook}
	reportErrors(commands)
	app := &cli.App{
		Name:            "image-cri-shim-agent",
		Usage:           "install, configure and watch image-cri-shim on a node of a cluster",
		Description:     manual,
		Version:         version.Short(),
		Commands:        commands,
		Action:          missingCommand,
		Writer:          stdout,
		ErrWriter:       stderr,
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {}, // Main returns the exit code
		OnUsageError:    flagError,
	}
	return app.RunContext(ctx, arguments)
}

func hostFlag() cli.Flag {
	return &cli.PathFlag{Name: "host", Usage: "the node's root folder, mounted at `FOLDER`", Value: "/host"}
}

func binaryFlag() cli.Flag {
	return &cli.PathFlag{Name: "binary", Usage: "the shim's program `FILE` in the image", Value: "/image-cri-shim"}
}

func intervalFlag() cli.Flag {
	return &cli.DurationFlag{Name: "interval", Usage: "`DURATION` between two checks of the node", Value: defaultInterval}
}
