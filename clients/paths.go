package clients

import (
	"cmp"
	"path/filepath"
	"slices"
)

// Paths names the files in which [Paths.Node] searches for clients.
type Paths struct {
	KubeletConfig string // kubelet's configuration file, unless its flags name another one
	KubeletNamed  bool   // KubeletConfig overrides the one in kubelet's flags
	// KubeletFlags are patterns of files with kubelet's flags, including systemd units
	// (.service, .conf). Later files take precedence.
	KubeletFlags     []string
	KubeletInstance  string // see [Node]
	Crictl           string // crictl's configuration file
	DistributionRoot string // see [FindDistributions]
}

// DefaultPaths returns the usual files below the folder root.
func DefaultPaths(root string) Paths {
	flags := []string{
		"usr/lib/systemd/system/kubelet.service", "usr/lib/systemd/system/kubelet.service.d/*.conf",
		"etc/systemd/system/kubelet.service", "etc/systemd/system/kubelet.service.d/*.conf",
		"var/lib/kubelet/kubeadm-flags.env", "etc/default/kubelet", "etc/sysconfig/kubelet",
	}
	for i, path := range flags {
		flags[i] = filepath.Join(root, path)
	}
	return Paths{
		KubeletConfig:    filepath.Join(root, "var/lib/kubelet/config.yaml"),
		KubeletFlags:     flags,
		KubeletInstance:  filepath.Join(root, "var/lib/kubelet/instance-config.yaml"),
		Crictl:           filepath.Join(root, "etc/crictl.yaml"),
		DistributionRoot: root,
	}
}

// KubeletFiles are the paths of kubelet's configuration and of files with its flags.
type KubeletFiles struct {
	Config       string
	DropIns      []string // of the configuration
	Units, Flags []string
}

// Kubelet returns the files of kubelet. A file with flags that does not exist is among them.
func (p Paths) Kubelet() (files KubeletFiles) {
	for _, pattern := range p.KubeletFlags {
		matches, err := filepath.Glob(pattern)
		isUnit := slices.Contains([]string{".service", ".conf"}, filepath.Ext(pattern))
		switch {
		case isUnit:
			files.Units = append(files.Units, matches...)
		case err != nil || len(matches) == 0:
			files.Flags = append(files.Flags, pattern) // reported as missing
		default:
			files.Flags = append(files.Flags, matches...)
		}
	}
	named, dropIns := KubeletConfig(slices.Concat(files.Units, files.Flags))
	files.Config, files.DropIns = cmp.Or(named, p.KubeletConfig), dropIns
	if p.KubeletNamed {
		files.Config = p.KubeletConfig
	}
	return files
}

// Node returns the node with its clients' files, without sockets.
func (p Paths) Node() *Node {
	kubelet := p.Kubelet()
	return &Node{
		Kubelet:         kubelet.Config,
		KubeletDropIns:  kubelet.DropIns,
		KubeletInstance: p.KubeletInstance,
		KubeletFlags:    kubelet.Flags,
		KubeletUnits:    kubelet.Units,
		Crictl:          p.Crictl,
		Distributions:   FindDistributions(p.DistributionRoot),
	}
}
