package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"image-cri-shim/admin"
	"image-cri-shim/clients"
	"image-cri-shim/config"
	"image-cri-shim/doctor"
	"image-cri-shim/unixsocket"
)

func installCommand() *cli.Command {
	return &cli.Command{
		Name:  "install",
		Usage: "point kubelet and crictl at the shim by editing their files",
		Description: `install sets the endpoints in the files of kubelet and crictl to the shim's socket, and
changes nothing else in them. It prints a diff, keeps a copy of each original file
beside it, and does not restart kubelet unless --restart-kubelet is set. If the shim does
not answer, a client uses another runtime than the shim, or a file can't be parsed,
install fails and changes no file. If kubelet's flags name its configuration or the
folder of its drop-ins, install edits those. It also edits the files of k3s, RKE2 and
MicroK8s, and prints the change by hand if only a unit or a new file can set the endpoint.
If crictl is in PATH and has no file, install creates it, and uninstall removes it again.`,
		Flags: append(installFlags(),
			&cli.BoolFlag{Name: "force", Usage: "edit the files even if the shim does not answer"},
			&cli.BoolFlag{Name: "restart-kubelet", Usage: "restart kubelet through systemctl afterwards"},
			&cli.DurationFlag{Name: "wait", Usage: "with --restart-kubelet: wait up to `DURATION` until kubelet has called the shim, else restore the files and restart kubelet again"}),
		Action: func(c *cli.Context) error {
			if c.IsSet("wait") && (!c.Bool("restart-kubelet") || c.Duration("wait") <= 0) {
				return usageError(c, "--wait needs a duration above 0, and --restart-kubelet")
			}
			return edit(c, (*clients.Node).Install)
		},
	}
}

func installFlags() []cli.Flag {
	return []cli.Flag{
		fileFlag(),
		&cli.BoolFlag{Name: "dry-run", Usage: "show the changes without making them"},
		kubeletConfigFlag(),
		&cli.PathFlag{Name: "kubelet-instance-config", Usage: "kubelet's instance configuration `FILE`, which kubeadm merges into the configuration at an upgrade", Value: defaultPaths.KubeletInstance},
		kubeletFlagsFlag(),
		distributionRootFlag(),
		&cli.StringSliceFlag{Name: "former-shim", Usage: "treat clients of `SOCKET` as clients of the shim, after a change of shim in its file", TakesFile: true},
		&cli.PathFlag{Name: "crictl-config", Usage: "crictl's configuration `FILE`", Value: defaultPaths.Crictl},
	}
}

// edit plans the changes of all files, prints them, and makes them unless this is a dry run.
func edit(c *cli.Context, plan func(*clients.Node) ([]clients.Change, error)) error {
	command := c.Command.Name
	settings, node, source, err := newNode(c)
	if err != nil {
		return err
	}
	changes, err := plan(node)
	if err == nil && command == "install" {
		err = checkInstall(c, settings, changes)
	}
	if err != nil {
		return fmt.Errorf("%s: nothing was changed: %w", command, err)
	}
	edited := false
	for _, change := range changes {
		for _, place := range change.Unknown {
			fmt.Fprintf(c.App.Writer, "%s: %s: its former value is unknown; using %s: unix://%s\n", change.Path, place, source, node.Runtime)
		}
		printChange(c.App.Writer, change)
		edited = edited || change.Changed()
	}
	if c.Bool("dry-run") {
		return problemOf(changes)
	}
	k := restarter{unit: node.KubeletUnit(), admin: admin.Socket(settings.StateDirectory), out: c.App.Writer, wait: c.Duration("wait")}
	ctx, stop, err := k.prepare(c.Context)
	defer stop()
	if err != nil {
		return fmt.Errorf("%s: nothing was changed: %w", command, err)
	}
	if err := clients.ApplyAll(changes); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	for _, change := range changes {
		printEdited(c.App.Writer, change)
	}
	if c.Bool("restart-kubelet") {
		if err := k.restartAndWait(ctx, stop, changes); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", command, err), problemOf(changes))
		}
	}
	if next := nextStep(command, node.KubeletUnit(), c.Bool("restart-kubelet")); edited && next != "" {
		fmt.Fprintln(c.App.Writer, "next: "+next)
	}
	return problemOf(changes)
}

// nextStep returns the operator's next step. Both units are named: the socket unit would start
// a service that is only disabled again.
func nextStep(command, unit string, restarted bool) string {
	const units = "image-cri-shim.socket image-cri-shim"
	switch {
	case command == "install" && restarted:
		return ""
	case command == "install":
		return "systemctl enable --now " + units + " && systemctl restart " + unit
	case restarted:
		return "systemctl disable --now " + units
	}
	return "systemctl restart " + unit + " && systemctl disable --now " + units
}

// checkInstall returns an error if there is no file of a client, or if the shim does not
// answer. With --force or --dry-run, it only warns of the shim.
func checkInstall(c *cli.Context, settings *config.Config, changes []clients.Change) error {
	var paths []string
	for _, change := range changes {
		paths = append(paths, change.Path)
	}
	if !slices.ContainsFunc(changes, func(change clients.Change) bool { return !change.Missing }) {
		return fmt.Errorf("no file of a client was found, looked for %s, and for the files of %s: name kubelet's with --kubelet-config or --kubelet-flags",
			strings.Join(paths, ", "), clients.DistributionNames)
	}
	if !slices.ContainsFunc(changes, func(change clients.Change) bool { return !change.Missing && change.Path != c.Path("crictl-config") }) {
		fmt.Fprintf(c.App.ErrWriter, "warning: no file of kubelet was found, looked for %s, and for the files of %s\n", strings.Join(paths, ", "), clients.DistributionNames)
	}
	if !c.Bool("restart-kubelet") && !slices.ContainsFunc(changes, func(change clients.Change) bool { return change.Changed() }) {
		return nil // the clients use the shim already
	}
	err := doctor.CheckReady(c.Context, settings.Shim, admin.Socket(settings.StateDirectory))
	switch {
	case err == nil:
		return nil
	case c.Bool("force") || c.Bool("dry-run"):
		fmt.Fprintf(c.App.ErrWriter, "warning: %v\n", err)
		return nil
	}
	return fmt.Errorf("%w; --force edits the files anyway", err)
}

// newNode returns the node of the flags and of the shim's configuration, and the source of its
// runtime's socket, for display.
func newNode(c *cli.Context) (settings *config.Config, node *clients.Node, source string, err error) {
	switch settings, err = config.Load(file(c)); {
	case err != nil && c.Command.Name == "uninstall" && (c.IsSet("former-shim") || !errors.Is(err, fs.ErrNotExist)):
		settings = &config.Config{Shim: config.ShimSocket(file(c)), StateDirectory: config.StateDirectory(file(c))}
		fmt.Fprintf(c.App.ErrWriter, "warning: using the shim's socket %s, because the configuration can't be used: %v\n", settings.Shim, err)
	case err != nil:
		return nil, nil, "", err
	}
	runtime, source := settings.Runtime, "cri"
	switch {
	case runtime != "":
	case c.Command.Name == "install":
		if runtime, err = config.DetectRuntime(c.Context); err != nil {
			return nil, nil, "", err
		}
	default:
		runtime, source = findRuntime(c.Context, settings.StateDirectory)
	}
	return settings, nodeOf(c, settings.Shim, runtime), source, nil
}

func nodeOf(c *cli.Context, shim, runtime string) *clients.Node {
	node := pathsOf(c).Node()
	node.CreateCrictl = !c.IsSet("crictl-config") && doctor.HasProgram("crictl")
	node.Shim, node.FormerShims, node.Runtime, node.SameSocket = shim, c.StringSlice("former-shim"), runtime, unixsocket.Same
	return node
}

func printChange(w io.Writer, change clients.Change) {
	switch {
	case change.Problem != nil:
	case change.Missing && !change.Created():
		fmt.Fprintf(w, "%s: does not exist\n", change.Path)
	case !change.Changed():
		fmt.Fprintf(w, "%s: no change needed\n", change.Path)
	default:
		fmt.Fprint(w, change.Diff())
	}
}

func printEdited(w io.Writer, change clients.Change) {
	switch {
	case change.Problem != nil, !change.Changed():
	case change.Created():
		fmt.Fprintf(w, "%s: created\n", change.Path)
	case change.Removed():
		fmt.Fprintf(w, "%s: removed\n", change.Path)
	case change.Backup() != "":
		fmt.Fprintf(w, "%s: edited, original saved as %s\n", change.Path, change.Backup())
	default:
		fmt.Fprintf(w, "%s: edited\n", change.Path)
	}
}
