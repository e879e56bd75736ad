package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"image-cri-shim/clients"
	"image-cri-shim/config"
	"image-cri-shim/unixsocket"
)

func installCommand() *cli.Command {
	return &cli.Command{
		Name:  "install",
		Usage: "point kubelet and crictl at the shim by editing their files",
		Description: `install sets the endpoints in the files of kubelet and crictl to the shim's socket, and
changes nothing else in them. It prints a diff, keeps a copy of each original file
beside it, and does not restart kubelet. If a client uses another runtime than the shim,
or a file can't be parsed, install fails and changes no file. If kubelet's flags name its
configuration or the folder of its drop-ins, install edits those.`,
		Flags: installFlags(),
		Action: func(c *cli.Context) error {
			return edit(c, "install", (*clients.Node).Install,
				"next: systemctl enable --now image-cri-shim.socket image-cri-shim && systemctl restart kubelet")
		},
	}
}

func uninstallCommand() *cli.Command {
	return &cli.Command{
		Name:  "uninstall",
		Usage: "point kubelet and crictl back at the endpoints they used before install",
		Description: `uninstall restores the values that install changed, from the copy that install kept, and
removes the copy. Other changes that were made to the files since then stay.`,
		Flags: append(installFlags(), &cli.BoolFlag{Name: "check", Usage: "change nothing, and exit with 1 if a client uses the shim"}),
		Action: func(c *cli.Context) error {
			if c.Bool("check") {
				return checkPointed(c)
			}
			return edit(c, "uninstall", (*clients.Node).Uninstall,
				"next: systemctl restart kubelet && systemctl disable --now image-cri-shim.socket image-cri-shim")
		},
	}
}

func installFlags() []cli.Flag {
	return []cli.Flag{
		fileFlag(),
		&cli.BoolFlag{Name: "dry-run", Usage: "show the changes without making them"},
		kubeletConfigFlag(),
		&cli.PathFlag{Name: "kubelet-instance-config", Usage: "kubelet's instance configuration `FILE`, which kubeadm merges into the configuration at an upgrade", Value: "/var/lib/kubelet/instance-config.yaml"},
		kubeletFlagsFlag(),
		&cli.PathFlag{Name: "crictl-config", Usage: "crictl's configuration `FILE`", Value: "/etc/crictl.yaml"},
	}
}

// edit plans the changes of all files, prints them, and makes them unless this is a dry run.
// next is the operator's next step.
func edit(c *cli.Context, command string, plan func(*clients.Node) ([]clients.Change, error), next string) error {
	node, err := newNode(c)
	if err != nil {
		return err
	}
	changes, err := plan(node)
	if err != nil {
		return fmt.Errorf("%s: nothing was changed: %w", command, err)
	}
	edited := false
	for _, change := range changes {
		if err := makeChange(c.App.Writer, change, c.Bool("dry-run")); err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		edited = edited || change.Changed()
	}
	if edited && !c.Bool("dry-run") {
		_, err = fmt.Fprintln(c.App.Writer, next)
	}
	return err
}

func newNode(c *cli.Context) (*clients.Node, error) {
	settings, err := config.Load(file(c))
	if err != nil {
		return nil, err
	}
	runtime := settings.Runtime
	if runtime == "" && c.Command.Name == "install" {
		if runtime, err = config.DetectRuntime(c.Context); err != nil {
			return nil, err
		}
	}
	return nodeOf(c, settings.Shim, runtime), nil
}

func nodeOf(c *cli.Context, shim, runtime string) *clients.Node {
	files := kubeletFilesOf(c)
	return &clients.Node{
		Kubelet:         files.config,
		KubeletDropIns:  files.dropIns,
		KubeletInstance: c.Path("kubelet-instance-config"),
		KubeletFlags:    files.flags,
		KubeletUnits:    files.units,
		Crictl:          c.Path("crictl-config"),
		Shim:            shim,
		Runtime:         runtime,
		SameSocket:      unixsocket.Same,
	}
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

func makeChange(w io.Writer, change clients.Change, dryRun bool) error {
	switch {
	case change.Missing:
		fmt.Fprintf(w, "%s: does not exist\n", change.Path)
	case !change.Changed():
		fmt.Fprintf(w, "%s: no change needed\n", change.Path)
	default:
		fmt.Fprint(w, change.Diff())
	}
	if dryRun {
		return nil
	}
	if err := change.Apply(); err != nil {
		return err
	}
	switch {
	case !change.Changed():
	case change.Backup() != "":
		fmt.Fprintf(w, "%s: edited, original saved as %s\n", change.Path, change.Backup())
	default:
		fmt.Fprintf(w, "%s: edited\n", change.Path)
	}
	return nil
}
