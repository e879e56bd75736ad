package cli

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"image-cri-shim/admin"
	"image-cri-shim/config"
	"image-cri-shim/doctor"
	"image-cri-shim/lookup"
	"image-cri-shim/rewrite/ledger"
	"image-cri-shim/version"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "examine the node: what is wrong, and what to do",
		Description: `Each line is OK, WARN or FAIL, with what to do. Checked are the configuration, the
runtime's and the shim's socket, what kubelet, crictl and kubeadm use, the sandbox
image, where names of images are kept, the way to each registry (name, connection,
TLS, login, clock, whether the runtime trusts it too), and the state directory.
docs/doctor.md lists the checks.

Nothing is changed, and no secret is shown. What only root may look at says so.

The exit code is 2 if a check fails, 1 if one warns and --fail-on is warn, else 0.`,
		Flags: []cli.Flag{
			fileFlag(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print `FORMAT`: text or json", Value: "text"},
			&cli.StringFlag{Name: "fail-on", Usage: "the `LEVEL` that the exit code tells: warn or fail", Value: "fail"},
			kubeletConfigFlag(),
			kubeletFlagsFlag(),
			&cli.PathFlag{Name: "crictl-config", Usage: "crictl's configuration is `FILE`", Value: "/etc/crictl.yaml"},
			&cli.StringSliceFlag{Name: "kubeadm-config", Usage: "kubeadm's configurations are `PATTERN`",
				Value: cli.NewStringSlice("/etc/kubernetes/*.yaml", "/var/lib/kubelet/instance-config.yaml")},
			&cli.PathFlag{Name: "containerd-config", Usage: "containerd's configuration is `FILE`, for what it does not tell itself", Value: "/etc/containerd/config.toml"},
			&cli.PathFlag{Name: "registries-conf", Usage: "CRI-O's registries are in `FILE`, and in the folder FILE.d", Value: "/etc/containers/registries.conf"},
			&cli.StringSliceFlag{Name: "certs-d", Usage: "CRI-O's certificates of registries are in `FOLDER`",
				Value: cli.NewStringSlice("/etc/containers/certs.d", "/etc/docker/certs.d")},
		},
		Action: examine,
	}
}

func examine(c *cli.Context) error {
	format, level := c.String("output"), c.String("fail-on")
	switch {
	case c.Args().Present():
		return unusable("unexpected argument %q: name the file with --file", c.Args().First())
	case format != "text" && format != "json":
		return unusable("--output: found %q, expected text or json", format)
	case level != "warn" && level != "fail":
		return unusable("--fail-on: found %q, expected warn or fail", level)
	}
	report := examined(c)
	write := report.WriteText
	if format == "json" {
		write = report.WriteJSON
	}
	if err := write(c.App.Writer); err != nil {
		return unusable("%v", err)
	}
	switch {
	case report.Level == doctor.Fail:
		return cli.Exit("", 2)
	case report.Level == doctor.Warn && level == "warn":
		return cli.Exit("", 1)
	}
	return nil
}

// unusable is an error that is not taken for a warning.
func unusable(format string, values ...any) error {
	return cli.Exit("doctor: "+fmt.Sprintf(format, values...), 2)
}

func examined(c *cli.Context) doctor.Report {
	kubelet := kubeletFilesOf(c)
	options := doctor.Options{File: file(c), Version: version.Short(), Files: doctor.Files{
		Kubelet:      append([]string{kubelet.config}, kubelet.dropIns...),
		KubeletFlags: slices.Concat(kubelet.units, kubelet.flags),
		Crictl:       c.Path("crictl-config"),
		Kubeadm:      c.StringSlice("kubeadm-config"),
		Containerd:   c.Path("containerd-config"),
		Registries:   c.Path("registries-conf"),
		Certificates: c.StringSlice("certs-d"),
	}}
	settings, err := config.Load(file(c))
	if err != nil {
		options.Problem = err
		return doctor.Examine(c.Context, options)
	}
	ledger, _ := ledger.Read(settings.StateDirectory) // a check of its own says why it is empty
	explainer, end, err := freshExplainer(c.Context, file(c), settings, ledger)
	if err != nil {
		options.Problem = err
		return doctor.Examine(c.Context, options)
	}
	defer end()
	settings.Warnings = append(settings.Warnings, lookup.Warnings(explainer.Registries)...)
	options.Settings, options.Explainer, options.Admin = settings, explainer, admin.Socket(settings.StateDirectory)
	return doctor.Examine(c.Context, options)
}
