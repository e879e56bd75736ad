// image-cri-shim stands in front of a container runtime's CRI socket and lets
// a node's private registries serve the images they have. README.md says how to
// use it; the folders are its parts: proxy forwards gRPC, rewrite changes the
// image names in CRI messages, registry asks the registries, config reads the
// file, explain says what all that means for an image, doctor what is wrong on the
// node, trace what clients call, admin carries it to the operator, page shows it in a
// browser, and clients edits the files that point kubelet and crictl at a socket.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"image-cri-shim/version"
)

func main() {
	err := run(context.Background(), os.Args, os.Stdout, os.Stderr)
	if err == nil {
		return
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(os.Stderr, "image-cri-shim:", text)
	}
	code := 1
	if exit, ok := errors.AsType[cli.ExitCoder](err); ok {
		code = exit.ExitCode()
	}
	os.Exit(code)
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

// run is the program: it returns instead of exiting, and writes only to the
// files it is given and, as the daemon, to its socket and state directory.
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
