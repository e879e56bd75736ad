package cli

import (
	"cmp"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"image-cri-shim/clients"
)

func kubeletConfigFlag() cli.Flag {
	return &cli.PathFlag{Name: "kubelet-config", Usage: "kubelet's configuration is `FILE`, whatever its flags name", Value: "/var/lib/kubelet/config.yaml"}
}

func kubeletFlagsFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "kubelet-flags", Usage: "kubelet's flags are in the files of `PATTERN`, units of systemd (.service, .conf) among them; a later one counts more", TakesFile: true,
		Value: cli.NewStringSlice(
			"/usr/lib/systemd/system/kubelet.service", "/usr/lib/systemd/system/kubelet.service.d/*.conf",
			"/etc/systemd/system/kubelet.service", "/etc/systemd/system/kubelet.service.d/*.conf",
			"/var/lib/kubelet/kubeadm-flags.env", "/etc/default/kubelet", "/etc/sysconfig/kubelet")}
}

// kubeletFiles are the files of a node that set how kubelet runs.
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
			files.flags = append(files.flags, pattern) // which is said not to be there
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
