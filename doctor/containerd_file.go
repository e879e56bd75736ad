package doctor

import (
	"cmp"

	"github.com/BurntSushi/toml"
)

// containerdFile is what containerd's config.toml says of images, for what it does
// not tell over CRI. Versions 1.x and 2.x have different plugins for it.
type containerdFile struct {
	Plugins struct {
		CRI struct {
			SandboxImage string          `toml:"sandbox_image"`
			Registry     containerdPaths `toml:"registry"`
		} `toml:"io.containerd.grpc.v1.cri"`
		Images struct {
			Pinned   map[string]string `toml:"pinned_images"`
			Registry containerdPaths   `toml:"registry"`
		} `toml:"io.containerd.cri.v1.images"`
	} `toml:"plugins"`
}

type containerdPaths struct {
	ConfigPath string `toml:"config_path"`
}

// readContainerd reads the file. What can't be read is empty.
func readContainerd(path string) (f containerdFile) {
	content, err := readFile(path)
	if err != nil {
		return f
	}
	if err := toml.Unmarshal(content, &f); err != nil {
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
