package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
)

// containerdDefault is where containerd 2 looks where no folder is configured.
const containerdDefault = "/etc/containerd/certs.d:/etc/docker/certs.d"

// containerdRouting reads containerd's folder of hosts
// (github.com/containerd/containerd, docs/hosts.md).
func (n *node) containerdRouting(host string) (routing, error) {
	folders := cmp.Or(n.settings.Registry.ConfigPath, readContainerd(n.Files.Containerd).configPath())
	if folders == "" {
		_, mirrored := n.settings.Registry.Mirrors[host]
		_, configured := n.settings.Registry.Configs[host]
		if mirrored || configured {
			return routing{}, errors.New("containerd has registry.mirrors or registry.configs for it, which containerd 2 does not know: set config_path, and write a hosts.toml")
		}
		if !strings.HasPrefix(n.runtime.version.GetRuntimeVersion(), "1.") && !strings.HasPrefix(n.runtime.version.GetRuntimeVersion(), "v1.") {
			folders = containerdDefault
		}
	}
	source, folder := "containerd's default", ""
	for root := range strings.SplitSeq(folders, ":") {
		if folder = hostFolder(root, host); folder != "" {
			break
		}
	}
	var routes []route
	if folder != "" {
		source = filepath.Join(folder, "hosts.toml")
		var err error
		if routes, err = readHosts(folder); err != nil {
			return routing{}, fmt.Errorf("%s: %w", source, err)
		}
	}
	if last := len(routes) - 1; last < 0 {
		routes = []route{defaultRoute(host)}
	} else if routes[last].host == "" {
		// What is said of the certificate is said without a host, too.
		preset := defaultRoute(host)
		routes[last].scheme, routes[last].host, routes[last].either = preset.scheme, preset.host, preset.either
	}
	first, _, _ := strings.Cut(cmp.Or(folders, containerdDefault), ":")
	file := filepath.Join(cmp.Or(folder, filepath.Join(first, host)), "hosts.toml")
	hints := routing{
		source: source, routes: routes,
		http: fmt.Sprintf("write server = %q to %s", "http://"+host, file),
		ca:   fmt.Sprintf("write server = %q and the authority's file as ca = \"...\" to %s", "https://"+host, file),
	}
	if folders == "" {
		hints.http += ", and set config_path to " + first
		hints.ca += ", and set config_path to " + first
	}
	return hints, nil
}

// hostFolder is the folder below root that containerd takes for a host; empty if
// there is none.
func hostFolder(root, host string) string {
	names := []string{host, "_default"}
	if colon := strings.LastIndexByte(host, ':'); colon > 0 {
		names = append([]string{host[:colon] + "_" + host[colon+1:] + "_"}, names...)
	}
	for _, name := range names {
		if folder := filepath.Join(root, name); root != "" {
			if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
				return folder
			}
		}
	}
	return ""
}

// defaultRoute is where containerd goes for a host that nothing is said of. With
// the machine itself it tries both schemes.
func defaultRoute(host string) route {
	if host == "docker.io" {
		return route{scheme: "https", host: "registry-1.docker.io"}
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if address := net.ParseIP(strings.Trim(name, "[]")); name == "localhost" || address != nil && address.IsLoopback() {
		return route{scheme: "https", host: host, either: port != "" && port != "443", skipVerify: true}
	}
	return route{scheme: "https", host: host}
}

// readHosts reads a folder's hosts.toml or, where there is none, its certificates
// in Docker's form. The last route's host is empty where no server is named.
func readHosts(folder string) ([]route, error) {
	content, err := readFile(filepath.Join(folder, "hosts.toml"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(content) == 0 {
		return []route{{authorities: certificates(folder)}}, nil
	}
	if err != nil {
		return nil, err
	}
	return parseHosts(folder, content)
}

func certificates(folder string) []string {
	files, err := filepath.Glob(filepath.Join(folder, "*.crt"))
	if err != nil {
		return nil
	}
	return files
}

// hostSettings is what hosts.toml says of a host. Its headers, which may hold
// passwords, are not read.
type hostSettings struct {
	Capabilities []string `toml:"capabilities"`
	CA           any      `toml:"ca"` // a file or a list of files
	SkipVerify   bool     `toml:"skip_verify"`
}

func parseHosts(folder string, content []byte) ([]route, error) {
	var file struct {
		hostSettings
		Server string                  `toml:"server"`
		Hosts  map[string]hostSettings `toml:"host"`
	}
	data, err := toml.Decode(string(content), &file)
	if err != nil {
		return nil, notTOML(err)
	}
	var routes []route
	for _, key := range data.Keys() { // in the order of the file
		if len(key) != 2 || key[0] != "host" {
			continue
		}
		settings := file.Hosts[key[1]]
		if len(settings.Capabilities) > 0 && !settings.can("pull") {
			continue
		}
		r, err := settings.route(folder, key[1])
		if err != nil {
			return nil, err
		}
		routes = append(routes, r)
	}
	last, err := file.route(folder, file.Server)
	return append(routes, last), err
}

func (s hostSettings) can(capability string) bool {
	for _, c := range s.Capabilities {
		if strings.EqualFold(c, capability) {
			return true
		}
	}
	return false
}

func (s hostSettings) route(folder, server string) (route, error) {
	r := route{skipVerify: s.SkipVerify}
	switch ca := s.CA.(type) {
	case string:
		r.authorities = []string{ca}
	case []any:
		for _, file := range ca {
			r.authorities = append(r.authorities, fmt.Sprint(file))
		}
	}
	for i, file := range r.authorities {
		if !filepath.IsAbs(file) {
			r.authorities[i] = filepath.Join(folder, file)
		}
	}
	if server == "" {
		return r, nil
	}
	if !strings.HasPrefix(server, "http") {
		server = "https://" + server
	}
	parsed, err := url.Parse(server)
	if err != nil {
		return route{}, errors.New("names a server that is no URL") // which may hold a password
	}
	r.scheme, r.host = parsed.Scheme, parsed.Host
	return r, nil
}

// notTOML says where a file is wrong, but not what is there.
func notTOML(err error) error {
	if parse, ok := errors.AsType[toml.ParseError](err); ok {
		return fmt.Errorf("line %d is no TOML of the form that is expected", parse.Position.Line)
	}
	return errors.New("is no TOML of the form that is expected")
}
