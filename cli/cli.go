// Package cli implements the commands of image-cri-shim. It parses flags, calls the packages
// that do the work, and prints their results.
//
// Each command has a file with its name. usage.go reports wrong arguments, and adds the next
// step to other errors. explainer.go explains images without a running shim, for resolve and
// doctor. running.go finds the running
// shim. trace_source.go reads the events of a trace. kubelet.go finds kubelet's files, for
// install and doctor. Without a command, the program serves, which is the task of package
// daemon.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"image-cri-shim/config"
	"image-cri-shim/daemon"
	"image-cri-shim/version"
)

// Main runs the program and returns its exit code. The first argument is the program's name.
func Main(ctx context.Context, arguments []string, stdout, stderr io.Writer) int {
	err := run(ctx, arguments, stdout, stderr)
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		daemon.WriteError(stderr, "image-cri-shim: "+text)
	}
	if exit, ok := errors.AsType[cli.ExitCoder](err); ok {
		return exit.ExitCode()
	}
	return 1
}

const manual = `image-cri-shim takes the place of a container runtime's CRI socket. kubelet,
crictl and kubeadm connect to it as if it were the runtime, and it forwards each
call to the runtime. If a call contains an image name, it looks up the image in
the configured registries. A registry that has the image serves it, with
that registry's credentials. Otherwise the image comes from the registry in its
name. Clients see the names that they asked for in both cases.

Without a command, it serves in the foreground until SIGINT or SIGTERM. Running
calls then have 30 s to end (drain); a second signal cancels them. The
configuration is reloaded when the file changes, and on SIGHUP.

EXAMPLES
   image-cri-shim check                      check the configuration and print its meaning
   image-cri-shim resolve nginx:1.25         explain which registry would serve an image
   image-cri-shim install --dry-run          show the changes that point kubelet and crictl at the shim
   image-cri-shim doctor                     find problems on this node
   image-cri-shim trace --slower-than 1s     show slow calls and their clients
   image-cri-shim --file ./shim.yaml         serve
   journalctl -u image-cri-shim              show which image names were asked for and served

FILES
   /etc/image-cri-shim.yaml                  the configuration
   /var/lib/image-cri-shim/ledger.json       names of images that the runtime does not keep
   /var/lib/image-cri-shim/pulls.json        pulls with image names to be set in the runtime
   /var/lib/image-cri-shim/admin.sock        socket for resolve, doctor and trace; for root and the shim's user
   /usr/share/doc/image-cri-shim             documentation

EXIT CODES
   0 after success, 1 after a failure, 64 after wrong arguments. The help of resolve and
   doctor has their other codes.`

// run runs the command in arguments.
func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) error {
	var unknown error // help for an unknown command
	app := &cli.App{
		Name:                   "image-cri-shim",
		Usage:                  "let a node's private registries serve the images they have",
		Description:            manual,
		Version:                version.Short(),
		Flags:                  []cli.Flag{fileFlag(), cli.HelpFlag},
		Action:                 serve,
		Commands:               []*cli.Command{checkCommand(), resolveCommand(), doctorCommand(), traceCommand(), installCommand(), uninstallCommand(), migrateCommand(), versionCommand(), completionCommand(), manCommand(), helpCommand()},
		UseShortOptionHandling: true,
		Writer:                 stdout,
		ErrWriter:              stderr,
		ExitErrHandler:         func(*cli.Context, error) {}, // Main returns the exit code
		OnUsageError:           func(c *cli.Context, err error, _ bool) error { return flagError(c, err) },
		CommandNotFound: func(c *cli.Context, name string) { // --help with an argument, or help
			if c.Command.ArgsUsage != "" && c.Command.Name != "help" {
				cli.HelpPrinter(c.App.Writer, cli.CommandHelpTemplate, c.Command)
				return
			}
			unknown = unknownCommand(c, name)
		},
	}
	reportErrors(app.Commands)
	if last := len(arguments) - 1; arguments[last] == completeFlag {
		complete(stdout, app, arguments[1:last])
		return nil
	}
	if err := app.RunContext(ctx, arguments); err != nil {
		return err
	}
	return unknown
}

// fileFlag returns the flag for the configuration file, which may precede or follow the
// command.
func fileFlag() cli.Flag {
	return &cli.PathFlag{
		Name:      "file",
		Aliases:   []string{"f"},
		Usage:     "read the configuration from `FILE`",
		Value:     config.DefaultFile,
		TakesFile: true,
	}
}

// file returns the value of fileFlag.
func file(c *cli.Context) string {
	for _, level := range c.Lineage() {
		if slices.Contains(level.LocalFlagNames(), "file") {
			return level.Path("file")
		}
	}
	return c.Path("file")
}

// serve runs the daemon.
func serve(c *cli.Context) error {
	if c.Args().Present() {
		return unknownCommand(c, c.Args().First())
	}
	if err := checkFiles(c); err != nil {
		return err
	}
	return withHint(c, alreadyRunning(c, daemon.Run(c.Context, file(c), c.App.ErrWriter)))
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version, commit, Go version and platform",
		Action: func(c *cli.Context) error {
			_, err := fmt.Fprintln(c.App.Writer, version.Long())
			return err
		},
	}
}

func helpCommand() *cli.Command {
	return &cli.Command{
		Name:      "help",
		Usage:     "print the help of the program or of a command",
		ArgsUsage: "[COMMAND]",
		Action: func(c *cli.Context) error {
			switch c.NArg() {
			case 0:
				return cli.ShowAppHelp(c)
			case 1:
				return cli.ShowCommandHelp(c, c.Args().First())
			}
			return usageError(c, "unexpected argument %q, expected one command", c.Args().Get(1))
		},
	}
}
