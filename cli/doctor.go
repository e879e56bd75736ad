package cli

import (
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"image-cri-shim/admin"
	"image-cri-shim/clients"
	"image-cri-shim/config"
	"image-cri-shim/doctor"
	"image-cri-shim/lookup"
	"image-cri-shim/rewrite/ledger"
	"image-cri-shim/version"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "find problems on the node and show how to fix them",
		Description: `Each finding is FAIL, WARN or OK, in this order. A line "do:" below it says how to fix a
problem. The last line says what the failures mean for this node.

doctor checks the configuration, the sockets of the runtime and the shim, the endpoints
of kubelet, crictl and kubeadm, the sandbox image, the place of image names, the state
directory, and for each registry name resolution, connection, TLS, login, clock, the
images of the node, and whether the runtime trusts it. docs/doctor.md lists the checks.

doctor changes nothing and prints no secrets. Checks that need root say so.

The exit code is 2 if a check fails, 1 if a check warns and --fail-on is warn, else 0.
With --wait, doctor repeats the checks until the exit code is 0 or the time is over. It
prints each change of the verdict on standard error, and finally the last report.

On a terminal the levels have colors, unless NO_COLOR is set or TERM is dumb.`,
		Flags: []cli.Flag{
			fileFlag(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print `FORMAT`: text or json", Value: "text"},
			&cli.StringFlag{Name: "fail-on", Usage: "lowest `LEVEL` that sets the exit code: warn or fail", Value: "fail"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only problems and the verdict"},
			&cli.BoolFlag{Name: "sample", Usage: "look up only as many images of the node as it takes to judge each registry, for regular runs on many nodes"},
			&cli.DurationFlag{Name: "wait", Usage: "repeat the checks until the exit code is 0, for at most `DURATION`, such as 60s"},
			kubeletConfigFlag(),
			kubeletFlagsFlag(),
			distributionRootFlag(),
			&cli.PathFlag{Name: "crictl-config", Usage: "read crictl's configuration from `FILE`", Value: defaultPaths.Crictl},
			&cli.StringSliceFlag{Name: "kubeadm-config", Usage: "read kubeadm's configurations from the files that match `PATTERN`", TakesFile: true,
				Value: cli.NewStringSlice("/etc/kubernetes/*.yaml", "/var/lib/kubelet/instance-config.yaml")},
			&cli.PathFlag{Name: "containerd-config", Usage: "read containerd's configuration from `FILE`, for settings that containerd does not report", Value: "/etc/containerd/config.toml"},
			&cli.PathFlag{Name: "registries-conf", Usage: "read CRI-O's registries from `FILE` and the folder FILE.d", Value: "/etc/containers/registries.conf"},
			&cli.StringSliceFlag{Name: "certs-d", Usage: "read CRI-O's certificates of registries from `FOLDER`", TakesFile: true,
				Value: cli.NewStringSlice("/etc/containers/certs.d", "/etc/docker/certs.d")},
		},
		Action: examine,
	}
}

func examine(c *cli.Context) error {
	if wait := c.Duration("wait"); wait < 0 {
		return usageError(c, "--wait: found %v, expected a duration such as 60s", wait)
	}
	tolerated := doctor.Warn
	if c.String("fail-on") == "warn" {
		tolerated = doctor.OK
	}
	report := examinedUntil(c, tolerated)
	if err := printReport(c, report); err != nil {
		return cli.Exit(fmt.Sprintf("doctor: %v", err), 2) // 1 means that a check warned
	}
	switch {
	case report.Level == doctor.Fail:
		return cli.Exit("", 2)
	case report.Level > tolerated:
		return cli.Exit("", 1)
	}
	return nil
}

// repeatInterval is the time between two examinations with --wait.
const repeatInterval = 2 * time.Second

// examinedUntil repeats the examination until the level is tolerated or --wait has passed.
// It prints each change of the verdict on standard error.
func examinedUntil(c *cli.Context, tolerated doctor.Level) doctor.Report {
	deadline := time.Now().Add(c.Duration("wait"))
	for verdict := ""; ; {
		report := examined(c)
		left := time.Until(deadline)
		if report.Level <= tolerated || left <= 0 {
			return report
		}
		if report.Verdict != verdict {
			verdict = report.Verdict
			fmt.Fprintln(c.App.ErrWriter, "image-cri-shim: waiting:", verdict)
		}
		select {
		case <-c.Context.Done():
			return report
		case <-time.After(min(left, repeatInterval)):
		}
	}
}

func printReport(c *cli.Context, report doctor.Report) error {
	if c.String("output") == "json" {
		return report.WriteJSON(c.App.Writer, c.Bool("quiet"))
	}
	width, color := screen(c.App.Writer)
	return report.WriteText(c.App.Writer, doctor.TextOptions{Width: width, Color: color, Quiet: c.Bool("quiet")})
}

func examined(c *cli.Context) doctor.Report {
	kubelet := pathsOf(c).Kubelet()
	options := doctor.Options{File: file(c), Version: version.Short(), Sample: c.Bool("sample"), Files: doctor.Files{
		Kubelet:       append([]string{kubelet.Config}, kubelet.DropIns...),
		KubeletNamed:  c.IsSet("kubelet-config"),
		KubeletFlags:  slices.Concat(kubelet.Units, kubelet.Flags),
		Distributions: clients.FindDistributions(c.Path("distribution-root")),
		Crictl:        c.Path("crictl-config"),
		Kubeadm:       c.StringSlice("kubeadm-config"),
		Containerd:    c.Path("containerd-config"),
		Registries:    c.Path("registries-conf"),
		Certificates:  c.StringSlice("certs-d"),
	}}
	settings, err := config.Load(file(c))
	if err != nil {
		options.Problem, options.Admin = err, admin.Socket(config.StateDirectory(file(c)))
		return doctor.Examine(c.Context, options)
	}
	options.Admin = admin.Socket(settings.StateDirectory)
	ledger, _ := ledger.Read(settings.StateDirectory) // a check reports the error
	explainer, end, err := freshExplainer(c.Context, file(c), settings, ledger)
	if err != nil {
		options.Problem = err
		return doctor.Examine(c.Context, options)
	}
	defer end()
	settings.Warnings = append(settings.Warnings, lookup.Warnings(settings, explainer.Registries)...)
	options.Settings, options.Explainer = settings, explainer
	return doctor.Examine(c.Context, options)
}
