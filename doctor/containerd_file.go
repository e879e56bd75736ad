package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// containerdFile is the part of containerd's config.toml about images. It supplies settings
// that containerd does not report over CRI. containerd 1.x and 2.x use different plugins for
// them; containerd 2 also reads those of the older plugin.
type containerdFile struct {
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
		return containerdFile{}
	}
	return f
}

func decodeContainerd(path string) (f containerdFile, err error) {
	content, err := readFile(path)
	if err != nil {
		return f, err
	}
	if err := decodeTOML(content, &f); err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
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
		}
	}
	return f, nil
}

// checkContainerdFile reports whether containerd's file can be read and is the one that
// containerd runs with, if containerd does not report its settings itself.
func checkContainerdFile(_ context.Context, n *node) []Finding {
	if !n.runtime.isContainerd() || n.runtimeSettings.err != nil || n.runtimeSettings.SandboxImage != "" {
		return nil
	}
	t := topic{"containerd's file", n.Files.Containerd}
	_, err := decodeContainerd(n.Files.Containerd)
	info, statErr := os.Stat(n.Files.Containerd)
	switch {
	case errors.Is(err, fs.ErrNotExist) && n.process.config == "":
		return []Finding{t.ok("does not exist: containerd uses its defaults")}
	case errors.Is(err, fs.ErrPermission):
		return []Finding{t.warn(rootHint, "this user may not read the file")}
	case err != nil:
		return []Finding{t.warn("correct the file, then restart containerd", "the doctor assumes containerd's defaults: %v", err)}
	case statErr == nil && !n.process.started.IsZero() && info.ModTime().After(n.process.started.Add(time.Second)):
		return []Finding{t.warn("restart containerd", "the file has changed since containerd started: containerd may use other settings than the doctor")}
	}
	return []Finding{t.ok("read, because containerd does not report its settings")}
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
