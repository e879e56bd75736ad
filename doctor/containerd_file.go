package doctor

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// containerdFile is the part of containerd's config.toml about images. It supplies settings
// that containerd does not report over CRI. containerd 1.x and 2.x use different plugins for
// them; containerd 2 also reads those of the older plugin.
type containerdFile struct {
	path    string
	changed time.Time // of the file, or of a file that it imports if that is later; zero: not read
	tables  map[string]any
	Version int      `toml:"version"`
	Imports []string `toml:"imports"`
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

// readContainerd reads the file, and then the files that it imports, which override it. The
// result is empty if a file can't be read or decoded; see checkContainerdFile.
func readContainerd(path string) containerdFile {
	f, err := decodeContainerd(path)
	if err != nil {
		return containerdFile{path: path}
	}
	return f
}

func decodeContainerd(path string) (f containerdFile, err error) {
	f.path = path
	content, err := readFile(path)
	if err != nil {
		return f, err
	}
	err = decodeTOML(content, &f)
	if err == nil {
		err = decodeTOML(content, &f.tables)
	}
	if err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	f.noteChange(path)
	for _, pattern := range f.Imports {
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(path), pattern)
		}
		files, err := filepath.Glob(pattern)
		if err != nil {
			return f, fmt.Errorf("%s: %w", path, err)
		}
		for _, file := range files {
			if content, err = readFile(file); err != nil {
				return f, err
			}
			if err := decodeTOML(content, &f); err != nil {
				return f, fmt.Errorf("%s: %w", file, err)
			}
			f.noteChange(file)
		}
	}
	return f, nil
}

func (f *containerdFile) noteChange(path string) {
	if info, err := os.Stat(path); err == nil && info.ModTime().After(f.changed) {
		f.changed = info.ModTime()
	}
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
