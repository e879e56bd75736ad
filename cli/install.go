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
		Usage: "point kubelet and crictl at the shim, by editing their files",
		Description: `The endpoints in kubelet's and crictl's files become the shim's socket; nothing
else in the files changes. A diff is shown, the file as it was is kept beside it,
and kubelet is not restarted. A client that uses another runtime than the shim, or
a file that is not understood, is an error, and then no file is changed. kubelet's
configuration and its drop-ins are those that its flags name, if any do.`,
		Flags: installFlags(),
		Action: func(c *cli.Context) error {
			return edit(c, "install", (*clients.Node).Install,
				"now: systemctl enable --now image-cri-shim && systemctl restart kubelet")
		},
	}
}

func uninstallCommand() *cli.Command {
	return &cli.Command{
		Name:  "uninstall",
		Usage: "point kubelet and crictl back at what they used before install",
		Description: `What install changed becomes what it was, by the copy that install has kept,
which then goes; what else was changed in the files since stays.`,
		Flags: append(installFlags(), &cli.BoolFlag{Name: "check", Usage: "change nothing, and exit with 1 if a client is pointed at the shim"}),
		Action: func(c *cli.Context) error {
			if c.Bool("check") {
				return checkPointed(c)
			}
			return edit(c, "uninstall", (*clients.Node).Uninstall,
				"now: systemctl restart kubelet, and then systemctl disable --now image-cri-shim")
		},
	}
}

func installFlags() []cli.Flag {
	return []cli.Flag{
		fileFlag(),
		&cli.BoolFlag{Name: "dry-run", Usage: "show what would change, and change nothing"},
		kubeletConfigFlag(),
		&cli.PathFlag{Name: "kubelet-instance-config", Usage: "the `FILE` that kubeadm puts into it at an upgrade", Value: "/var/lib/kubelet/instance-config.yaml"},
		kubeletFlagsFlag(),
		&cli.PathFlag{Name: "crictl-config", Usage: "crictl's configuration `FILE`", Value: "/etc/crictl.yaml"},
	}
}

// edit plans the changes of all files, shows them, and makes them unless this is
// a dry run. next says what the operator has to do then.
func edit(c *cli.Context, command string, plan func(*clients.Node) ([]clients.Change, error), next string) error {
	if c.Args().Present() {
		return fmt.Errorf("%s: unexpected argument %q: name files with options", command, c.Args().First())
	}
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

// checkPointed is for the packages' scripts: a configuration that is wrong or gone does
// not keep it from finding the clients.
func checkPointed(c *cli.Context) error {
	node := nodeOf(c, config.ShimSocket(file(c)), "")
	node.SameSocket = func(a, b string) bool { // /var/run is /run, even where the link is not there
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
		fmt.Fprintf(w, "%s: not there\n", change.Path)
	case !change.Changed():
		fmt.Fprintf(w, "%s: nothing to do\n", change.Path)
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
		fmt.Fprintf(w, "%s: edited, %s has it as it was\n", change.Path, change.Backup())
	default:
		fmt.Fprintf(w, "%s: edited\n", change.Path)
	}
	return nil
}
