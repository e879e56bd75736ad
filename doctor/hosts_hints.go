package doctor

import (
	"fmt"
	"path/filepath"
	"strings"

	"image-cri-shim/registry"
)

// setHints sets the remedies, which write a hosts.toml. It has a table because containerd
// before 1.7.32 ignores a file without one.
func (r *routing) setHints(file, host string) {
	hint := func(scheme string, more ...string) string {
		lines := append([]string{fmt.Sprintf("server = \"%s://%s\"", scheme, host), fmt.Sprintf("[host.\"%s://%s\"]", scheme, host)}, more...)
		command := writeCommand(file, lines...)
		if exists(file) {
			return fmt.Sprintf("replace the file, with a copy in %s.old: `cp %s %s && %s`", file, shellWord(file), shellWord(file+".old"), command)
		}
		return fmt.Sprintf("write the file: `mkdir -p %s && %s`", shellWord(filepath.Dir(file)), command)
	}
	r.httpHint = hint("http")
	r.caHint = func(ca string) string {
		if ca == "" {
			ca = filepath.Join(filepath.Dir(file), "ca.crt")
			return fmt.Sprintf("put the certificate of the registry's CA into %s, then ", ca) + hint("https", fmt.Sprintf("ca = %q", ca))
		}
		return hint("https", fmt.Sprintf("ca = %q", ca))
	}
}

// setPendingHints sets the remedies if the file has a config_path that the running containerd
// has not read.
func (n *node) setPendingHints(r *routing, host string, file containerdFile) {
	roots := filepath.SplitList(file.legacyConfigPath())
	folder := hostFolder(roots, host)
	r.moreHint = ", then " + restartContainerd + ": it has not read config_path in " + file.path
	if folder != "" && exists(filepath.Join(folder, "hosts.toml")) {
		r.httpHint, r.moreHint = "containerd has not read config_path in "+file.path+": "+restartContainerd, ""
		r.caHint = func(string) string { return r.httpHint }
		return
	}
	r.setHints(filepath.Join(roots[0], host, "hosts.toml"), host)
}

// configPathHint returns the remedy that sets config_path, in the table that a version of
// containerd reads.
func (f containerdFile) configPathHint(folder string, rules hostsRules) string {
	table, name := f.registryTable(rules)
	line := fmt.Sprintf("config_path = %q", folder)
	switch {
	case !exists(f.path):
		version := "version = 2"
		if rules.containerd2 {
			version = "version = 3"
		}
		return fmt.Sprintf("set config_path: `mkdir -p %s && %s`, then %s", shellWord(filepath.Dir(f.path)), writeCommand(f.path, version, table, line), restartContainerd)
	case f.changed.IsZero() || f.has(name):
		return fmt.Sprintf("set %s in the table %s of %s, then %s", line, table, f.path, restartContainerd)
	}
	return fmt.Sprintf("set config_path: `%s`, then %s", appendCommand(f.path, "", table, line), restartContainerd)
}

// registryTable returns the header of the table with config_path, and the name of its plugin.
func (f containerdFile) registryTable(rules hostsRules) (header, plugin string) {
	const table = "[plugins.%q.registry]"
	plugin = "io.containerd.grpc.v1.cri"
	switch {
	case rules.containerd2 && (f.Version > 2 || f.changed.IsZero()):
		plugin = "io.containerd.cri.v1.images"
	case !rules.containerd2 && f.Version < 2 && !f.changed.IsZero():
		plugin = "cri" // the name in files of version 1
	}
	return fmt.Sprintf(table, plugin), plugin
}

// has reports whether the file has the table registry of a plugin.
func (f containerdFile) has(plugin string) bool {
	plugins, _ := f.tables["plugins"].(map[string]any)
	settings, _ := plugins[plugin].(map[string]any)
	_, found := settings["registry"]
	return found
}

// oldSettingsHint returns the remedy for [errOldSettings]: containerd refuses to start with
// these settings and config_path.
func (n *node) oldSettingsHint(p registry.Probe) string {
	file, rules := readContainerd(n.Files.Containerd), hostsRulesOf(n.runtime.version.GetRuntimeVersion())
	if file.legacyConfigPath() != "" { // containerd has not read it
		return restartContainerd
	}
	folder, _, _ := strings.Cut(containerdDefault, ":")
	found := routing{}
	found.setHints(filepath.Join(folder, p.Host, "hosts.toml"), p.Host)
	hint := found.httpHint
	if _, plain := registryHost(p); !plain {
		hint = found.caHint(n.configured(p).CA)
	}
	return "remove registry.mirrors and registry.configs from " + file.path + "; " + hint + ", then " + file.configPathHint(folder, rules)
}
