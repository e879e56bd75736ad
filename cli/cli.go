// Package cli is the command line of image-cri-shim: flags in, text out. Each command has a
// file: check, resolve (explainer.go for what needs no running shim), doctor, trace and
// trace_source, install (with kubelet.go's files), completion. Without a command the
// program serves, which package daemon does.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"image-cri-shim/daemon"
	"image-cri-shim/version"
)

// Main runs the program with its arguments, the first of which is its name. It writes to
// stdout and stderr, and returns the exit code.
func Main(ctx context.Context, arguments []string, stdout, stderr io.Writer) int {
	err := run(ctx, arguments, stdout, stderr)
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(stderr, "image-cri-shim:", text)
	}
	if exit, ok := errors.AsType[cli.ExitCoder](err); ok {
		return exit.ExitCode()
	}
	return 1
}

const manual = `image-cri-shim takes the place of a container runtime's CRI socket. kubelet,
crictl and kubeadm talk to it as if it were the runtime; it forwards every call,
and only where a message carries an image name it looks whether one of the
configured registries has the image. If so, the image is pulled from there, with
that registry's credentials; if not, from where its name says. Clients see the
names they asked for either way.

Without a command it serves, in the foreground, until SIGINT or SIGTERM: running
calls then have 30 s to end (drain), and a second signal ends them at once. The
file is read again when it changes, and on SIGHUP.

EXAMPLES
   image-cri-shim check                      is the configuration right, and what does it mean?
   image-cri-shim resolve nginx:1.25         which registry would serve this image?
   image-cri-shim install --dry-run          what would point kubelet and crictl at the shim?
   image-cri-shim doctor                     what is wrong on this node, and what to do
   image-cri-shim trace --slower-than 1s     which calls take long? and who makes them?
   image-cri-shim --file ./shim.yaml         serve
   journalctl -u image-cri-shim              what was asked, and what was served

FILES
   /etc/image-cri-shim.yaml                  the configuration
   /var/lib/image-cri-shim/ledger.json       names of images that the runtime does not keep
   /var/lib/image-cri-shim/pulls.json        pulls whose images have not got their names yet
   /var/lib/image-cri-shim/admin.sock        where resolve, doctor and trace ask the running shim; root only`

// run runs the command that the arguments name.
func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) error {
	app := &cli.App{
		Name:                   "image-cri-shim",
		Usage:                  "let a node's private registries serve the images they have",
		Description:            manual,
		Version:                version.Short(),
		Flags:                  []cli.Flag{fileFlag()},
		Action:                 serve,
		Commands:               []*cli.Command{checkCommand(), resolveCommand(), doctorCommand(), traceCommand(), installCommand(), uninstallCommand(), versionCommand(), completionCommand()},
		EnableBashCompletion:   true,
		UseShortOptionHandling: true,
		Suggest:                true,
		Writer:                 stdout,
		ErrWriter:              stderr,
		ExitErrHandler:         func(*cli.Context, error) {}, // main exits
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return fmt.Errorf("%w: see image-cri-shim --help", err)
		},
	}
	return app.RunContext(ctx, arguments)
}

// fileFlag names the configuration file, before or behind the command.
func fileFlag() cli.Flag {
	return &cli.PathFlag{
		Name:      "file",
		Aliases:   []string{"f"},
		Usage:     "read the configuration from `FILE`",
		Value:     "/etc/image-cri-shim.yaml",
		TakesFile: true,
	}
}

// file is what fileFlag was given, wherever it stood.
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
		return fmt.Errorf("unknown command %q: see image-cri-shim --help", c.Args().First())
	}
	return daemon.Run(c.Context, file(c), c.App.ErrWriter)
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version, the commit and what it was built with",
		Action: func(c *cli.Context) error {
			_, err := fmt.Fprintln(c.App.Writer, version.Long())
			return err
		},
	}
}
