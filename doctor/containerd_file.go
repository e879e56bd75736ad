package doctor

import "cmp"

// containerdFile is the part of containerd's config.toml about images. It supplies settings
// that containerd does not report over CRI. containerd 1.x and 2.x use different plugins for
// them; containerd 2 also reads those of the older plugin.
type containerdFile struct {
	Plugins struct {
		CRI struct {
			containerdPulls
			SandboxImage string `toml:"sandbox_image"`
			Containerd   struct {
				containerdUnpacking
			} `toml:"containerd"`
		} `toml:"io.containerd.grpc.v1.cri"`
		Images struct {
			containerdPulls
			containerdUnpacking
			Pinned map[string]string `toml:"pinned_images"`
		} `toml:"io.containerd.cri.v1.images"`
	} `toml:"plugins"`
}

// containerdPulls has config_path and settings for pulls. With certain values of these
// settings or those of containerdUnpacking, containerd 2.1 and later pulls without its
// transfer service.
type containerdPulls struct {
	Registry struct {
		ConfigPath string         `toml:"config_path"`
		Mirrors    map[string]any `toml:"mirrors"`
		Configs    map[string]any `toml:"configs"`
		Auths      map[string]any `toml:"auths"`
	} `toml:"registry"`
	Local     bool `toml:"use_local_image_pull"`
	SyncFS    bool `toml:"image_pull_with_sync_fs"`
	Downloads *int `toml:"max_concurrent_downloads"`
}

type containerdUnpacking struct {
	Discard            bool  `toml:"discard_unpacked_layers"`
	WithoutAnnotations *bool `toml:"disable_snapshot_annotations"`
}

// readContainerd reads the file. If the file can't be read or decoded, the result is empty.
func readContainerd(path string) (f containerdFile) {
	content, err := readFile(path)
	if err != nil {
		return f
	}
	if err := decodeTOML(content, &f); err != nil {
		return containerdFile{}
	}
	return f
}

func (f containerdFile) sandbox() string {
	return cmp.Or(f.Plugins.Images.Pinned["sandbox"], f.Plugins.CRI.SandboxImage)
}

func (f containerdFile) configPath() string {
	return cmp.Or(f.Plugins.Images.Registry.ConfigPath, f.Plugins.CRI.Registry.ConfigPath)
}

// localPull reports whether containerd 2.1 and later pulls without its transfer service, as
// earlier versions do.
func (f containerdFile) localPull() bool {
	images, cri := f.Plugins.Images, f.Plugins.CRI
	return images.containerdPulls.local() || images.containerdUnpacking.local() || cri.containerdPulls.local() || cri.Containerd.local()
}

func (p containerdPulls) local() bool {
	const downloads = 3 // the default
	return p.Local || p.SyncFS || p.Downloads != nil && *p.Downloads != downloads ||
		len(p.Registry.Mirrors)+len(p.Registry.Configs)+len(p.Registry.Auths) > 0
}

func (u containerdUnpacking) local() bool {
	return u.Discard || u.WithoutAnnotations != nil && !*u.WithoutAnnotations
}
