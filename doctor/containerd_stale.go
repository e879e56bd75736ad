package doctor

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// restartContainerd is the remedy after a change of containerd's config.toml. A change of a
// hosts.toml needs no restart.
const restartContainerd = "`systemctl restart containerd`"

// checkContainerdFile reports whether containerd's file can be read and is the one that
// containerd runs with. If containerd reports its settings itself, only a difference is a
// finding.
func checkContainerdFile(_ context.Context, n *node) []Finding {
	if !n.runtime.isContainerd() || n.runtimeSettings.err != nil {
		return nil
	}
	t := topic{"containerd's file", n.Files.Containerd}
	file, err := decodeContainerd(n.Files.Containerd)
	switch {
	case n.reportsSettings() && err == nil && n.differs(file):
		return []Finding{t.warn(restartContainerd, "containerd started before this change: it runs with %s, but the file sets %s", quoteConfigPath(n.runtimeSettings.Registry.ConfigPath), quoteConfigPath(file.legacyConfigPath()))}
	case n.reportsSettings():
		return nil
	case errors.Is(err, fs.ErrNotExist) && n.process.config == "":
		return []Finding{t.ok("does not exist: containerd uses its defaults")}
	case errors.Is(err, fs.ErrPermission):
		return []Finding{t.warn(rootHint, "this user may not read the file")}
	case err != nil:
		return []Finding{t.warn("correct the file, then "+restartContainerd, "the doctor assumes containerd's defaults: %v", err)}
	case n.isStale(file):
		return []Finding{t.warn(restartContainerd, "containerd started before this change of the file or of one that it imports, and may run with other settings")}
	}
	return []Finding{t.ok("read, because containerd does not report its settings")}
}

func quoteConfigPath(folders string) string {
	if folders == "" {
		return "no config_path"
	}
	return "config_path " + quoteEndpoint(folders)
}

// reportsSettings reports whether the runtime returns its settings over CRI, as containerd 1
// does. Those in its file are then of no importance before a restart.
func (n *node) reportsSettings() bool { return n.runtimeSettings.SandboxImage != "" }

// differs reports whether containerd 1 runs with another config_path than that of its file. An
// old file without one may be of version 1, whose tables have other names.
func (n *node) differs(file containerdFile) bool {
	path := file.legacyConfigPath()
	return path != n.runtimeSettings.Registry.ConfigPath && (path != "" || n.isNewer(file))
}

// isStale reports whether a containerd that does not report its settings started before its
// file changed.
func (n *node) isStale(file containerdFile) bool { return !n.reportsSettings() && n.isNewer(file) }

func (n *node) isNewer(file containerdFile) bool {
	return !n.process.started.IsZero() && file.changed.After(n.process.started.Add(time.Second))
}

// legacyConfigPath is the config_path that containerd 1 reads.
func (f containerdFile) legacyConfigPath() string { return f.Plugins.CRI.Registry.ConfigPath }
