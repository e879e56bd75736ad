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

// containerdDefault is where containerd looks where no folder is configured, since 2.2.
const containerdDefault = "/etc/containerd/certs.d:/etc/docker/certs.d"

// containerdRouting reads containerd's folder of hosts
// (github.com/containerd/containerd, docs/hosts.md).
func (n *node) containerdRouting(host string) (routing, error) {
	rules := hostsRulesOf(n.runtime.version.GetRuntimeVersion())
	file := readContainerd(n.Files.Containerd)
	roots, err := n.hostRoots(host, rules, file)
	if err != nil {
		return routing{}, err
	}
	found := routing{source: "containerd's default", routes: []route{{resolves: true}}}
	several := len(roots) > 1 && rules.transfer && !file.localPull()
	folder := hostFolder(roots, host)
	if folder != "" {
		found.source = filepath.Join(folder, "hosts.toml")
	}
	switch {
	case folder != "" && several:
		found.ignored = errors.New("a config_path of several folders counts as one that does not exist")
	case folder != "":
		if found.routes, found.ignored, err = readHosts(folder, rules); err != nil {
			return routing{}, fmt.Errorf("%s: %w", found.source, err)
		}
	}
	if last := &found.routes[len(found.routes)-1]; last.host == "" {
		last.setDefault(host, rules)
	}
	switch {
	case folder == "":
		folder = filepath.Join(append(roots, filepath.SplitList(containerdDefault)...)[0], host)
	case filepath.Base(folder) == "_default": // which is for other hosts, too
		folder = filepath.Join(filepath.Dir(folder), host)
	}
	found.hint(filepath.Join(folder, "hosts.toml"), host)
	switch {
	case len(roots) == 0:
		found.also = ", and set config_path to " + filepath.Dir(folder)
	case several:
		found.also = ", and set config_path to that folder alone: " + filepath.Dir(folder)
	}
	return found, nil
}

// hostRoots returns the folders of config_path.
func (n *node) hostRoots(host string, rules hostsRules, file containerdFile) ([]string, error) {
	folders := cmp.Or(n.settings.Registry.ConfigPath, file.configPath())
	if folders != "" {
		return filepath.SplitList(folders), nil
	}
	_, mirrored := n.settings.Registry.Mirrors[host]
	_, configured := n.settings.Registry.Configs[host]
	if mirrored || configured {
		return nil, errors.New("containerd has registry.mirrors or registry.configs for it, which containerd 2 does not know: set config_path, and write a hosts.toml")
	}
	if rules.defaultFolders {
		return filepath.SplitList(containerdDefault), nil
	}
	return nil, nil
}

// hint sets what to write to a hosts.toml. A table is what containerd before 1.7.32
// needs to read the file at all.
func (r *routing) hint(file, host string) {
	const lines = `write to %[1]s, each on its own line: server = "%[3]s://%[2]s", [host."%[3]s://%[2]s"]`
	r.http = fmt.Sprintf(lines, file, host, "http")
	r.ca = fmt.Sprintf(lines+`, ca = "FILE"`, file, host, "https")
}

// hostFolder is the first folder below roots that containerd takes for a host; empty
// if there is none.
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

// setDefault sets where containerd goes for a host that its files name no server for.
func (r *route) setDefault(host string, rules hostsRules) {
	r.scheme, r.host, r.path, r.resolves, r.either = "https", servingHost(host), "/v2", true, false
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	address := net.ParseIP(strings.Trim(name, "[]"))
	if name != "localhost" && (address == nil || !address.IsLoopback()) {
		return
	}
	if !rules.localPorts || port != "" && port != "443" {
		r.scheme = "http"
	}
	r.skipVerify = r.skipVerify || !rules.localPorts || port != "80"
	r.either = rules.fallback && r.scheme == "http" && port != "80"
}
