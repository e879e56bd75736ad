package cli

import (
	"cmp"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"image-cri-shim/clients"
)

func kubeletConfigFlag() cli.Flag {
	return &cli.PathFlag{Name: "kubelet-config", Usage: "kubelet's configuration `FILE`, overriding the one in kubelet's flags", Value: "/var/lib/kubelet/config.yaml"}
}

func kubeletFlagsFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "kubelet-flags", Usage: "read kubelet's flags from the files that match `PATTERN`, including systemd units (.service, .conf); later files take precedence", TakesFile: true,
		Value: cli.NewStringSlice(
			"/usr/lib/systemd/system/kubelet.service", "/usr/lib/systemd/system/kubelet.service.d/*.conf",
			"/etc/systemd/system/kubelet.service", "/etc/systemd/system/kubelet.service.d/*.conf",
			"/var/lib/kubelet/kubeadm-flags.env", "/etc/default/kubelet", "/etc/sysconfig/kubelet")}
}

func distributionRootFlag() cli.Flag {
	return &cli.PathFlag{Name: "distribution-root", Usage: "find the files of " + clients.DistributionNames + " below `FOLDER`", Value: "/"}
}

// kubeletFiles are the paths of kubelet's configuration and of files with its flags.
type kubeletFiles struct {
	config       string
	dropIns      []string // of the configuration
	units, flags []string
}

func kubeletFilesOf(c *cli.Context) (files kubeletFiles) {
	for _, pattern := range c.StringSlice("kubelet-flags") {
		matches, err := filepath.Glob(pattern)
		isUnit := slices.Contains([]string{".service", ".conf"}, filepath.Ext(pattern))
		switch {
		case isUnit:
			files.units = append(files.units, matches...)
		case err != nil || len(matches) == 0:
			files.flags = append(files.flags, pattern) // reported as missing
		default:
			files.flags = append(files.flags, matches...)
		}
	}
	named, dropIns := clients.KubeletConfig(slices.Concat(files.units, files.flags))
	files.config, files.dropIns = cmp.Or(named, c.Path("kubelet-config")), dropIns
	if c.IsSet("kubelet-config") {
		files.config = c.Path("kubelet-config")
	}
	return files
}
