package cli

import (
	"github.com/urfave/cli/v2"

	"image-cri-shim/clients"
)

// defaultPaths are the default values of the flags for the files of clients.
var defaultPaths = clients.DefaultPaths("/")

func kubeletConfigFlag() cli.Flag {
	return &cli.PathFlag{Name: "kubelet-config", Usage: "kubelet's configuration `FILE`, overriding the one in kubelet's flags", Value: defaultPaths.KubeletConfig}
}

func kubeletFlagsFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "kubelet-flags", Usage: "read kubelet's flags from the files that match `PATTERN`, including systemd units (.service, .conf); later files take precedence", TakesFile: true,
		Value: cli.NewStringSlice(defaultPaths.KubeletFlags...)}
}

func distributionRootFlag() cli.Flag {
	return &cli.PathFlag{Name: "distribution-root", Usage: "find the files of " + clients.DistributionNames + " below `FOLDER`", Value: defaultPaths.DistributionRoot}
}

// pathsOf returns the files of clients from the flags of a command.
func pathsOf(c *cli.Context) clients.Paths {
	return clients.Paths{
		KubeletConfig:    c.Path("kubelet-config"),
		KubeletNamed:     c.IsSet("kubelet-config"),
		KubeletFlags:     c.StringSlice("kubelet-flags"),
		KubeletInstance:  c.Path("kubelet-instance-config"),
		Crictl:           c.Path("crictl-config"),
		DistributionRoot: c.Path("distribution-root"),
	}
}
