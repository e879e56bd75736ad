package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// containerdDefault is the default config_path of containerd 2.2 and later.
const containerdDefault = "/etc/containerd/certs.d:/etc/docker/certs.d"

// containerdRouting reads containerd's configuration of a registry host, the hosts.toml
// below config_path (github.com/containerd/containerd, docs/hosts.md).
func (n *node) containerdRouting(host string) (routing, error) {
	rules := hostsRulesOf(n.runtime.version.GetRuntimeVersion())
	file := readContainerd(n.Files.Containerd)
	roots, err := n.hostRoots(host, rules, file)
	if err != nil {
		return routing{}, err
	}
	found := routing{source: "containerd's default", routes: []route{{resolvesTags: true}}}
	if n.isStale(file) {
		found.staleFile = file.path
	}
	several := len(roots) > 1 && rules.transferService && !file.localPull()
	folder := hostFolder(roots, host)
	if folder != "" {
		found.source = filepath.Join(folder, "hosts.toml")
	}
	switch {
	case folder != "" && several:
		found.ignoredErr = errors.New("containerd reads a config_path of several folders as one path, and this path does not exist")
	case folder != "":
		if found.routes, found.ignoredErr, err = readHosts(folder, rules); err != nil {
			return routing{}, fmt.Errorf("%s: %w", found.source, err)
		}
	}
	if last := &found.routes[len(found.routes)-1]; last.host == "" {
		last.setDefault(host, rules)
	}
	switch {
	case folder == "":
		folder = filepath.Join(append(roots, filepath.SplitList(containerdDefault)...)[0], host)
	case filepath.Base(folder) == "_default": // also applies to other hosts
		folder = filepath.Join(filepath.Dir(folder), host)
	}
	switch {
	case len(roots) == 0 && n.reportsSettings() && file.legacyConfigPath() != "":
		n.setPendingHints(&found, host, file)
		return found, nil
	case len(roots) == 0:
		found.moreHint = ", then " + file.configPathHint(filepath.Dir(folder), rules)
	case several:
		found.moreHint = ", then " + file.configPathHint(filepath.Dir(folder), rules) + " (one folder only)"
	}
	found.setHints(filepath.Join(folder, "hosts.toml"), host)
	return found, nil
}

// errOldSettings is the error of a registry for which containerd does not use hosts.toml.
var errOldSettings = errors.New("containerd uses registry.mirrors or registry.configs for this registry; the doctor does not read these keys, and containerd 2 does not support them")

// hostRoots returns the folders of config_path, or its default. The file counts only if
// containerd does not report its settings.
func (n *node) hostRoots(host string, rules hostsRules, file containerdFile) ([]string, error) {
	folders := n.runtimeSettings.Registry.ConfigPath
	if !n.reportsSettings() {
		folders = cmp.Or(folders, file.configPath())
	}
	if folders != "" {
		return filepath.SplitList(folders), nil
	}
	_, mirrored := n.runtimeSettings.Registry.Mirrors[host]
	_, configured := n.runtimeSettings.Registry.Configs[host]
	if mirrored || configured {
		return nil, errOldSettings
	}
	if rules.defaultFolders {
		return filepath.SplitList(containerdDefault), nil
	}
	return nil, nil
}

// hostFolder returns the first folder below roots that containerd uses for a host, or an
// empty string if there is none.
func hostFolder(roots []string, host string) string {
	names := []string{host, "_default"}
	if colon := strings.LastIndexByte(host, ':'); colon > 0 {
		names = append([]string{host[:colon] + "_" + host[colon+1:] + "_"}, names...)
	}
	for _, root := range roots {
		for _, name := range names {
			folder := filepath.Join(root, name)
			if _, err := os.Stat(folder); root != "" && !errors.Is(err, fs.ErrNotExist) {
				return folder
			}
		}
	}
	return ""
}

// setDefault sets the route that containerd uses for a host without a configured server.
func (r *route) setDefault(host string, rules hostsRules) {
	r.scheme, r.host, r.path, r.resolvesTags, r.httpFallback = "https", servingHost(host), "/v2", true, false
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	address := net.ParseIP(strings.Trim(name, "[]"))
	if name != "localhost" && (address == nil || !address.IsLoopback()) {
		return
	}
	if !rules.httpsOnLoopback || port != "" && port != "443" {
		r.scheme = "http"
	}
	r.skipVerify = r.skipVerify || !rules.httpsOnLoopback || port != "80"
	r.httpFallback = rules.httpFallback && r.scheme == "http" && port != "80"
}
