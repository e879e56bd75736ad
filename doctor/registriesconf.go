package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
)

// registriesFile is registries.conf (containers-registries.conf(5)), version 2.
type registriesFile struct {
	Registries []struct {
		Prefix   string `toml:"prefix"`
		Location string `toml:"location"`
		Insecure bool   `toml:"insecure"`
		Blocked  bool   `toml:"blocked"`
		Mirrors  []struct {
			Location string `toml:"location"`
			Insecure bool   `toml:"insecure"`
		} `toml:"mirror"`
	} `toml:"registry"`
}

// crioRouting reads CRI-O's files for a host: the main one and those of its folder,
// of which a later one counts more. Settings of a part of a host's repositories are
// not looked at.
func crioRouting(path string, folders []string, host string) (routing, error) {
	more, err := filepath.Glob(filepath.Join(path+".d", "*.conf"))
	if err != nil {
		return routing{}, err
	}
	found := routing{source: "CRI-O's default", routes: []route{crioRoute(folders, host, false)}}
	for _, file := range append([]string{path}, more...) {
		content, err := readFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return routing{}, err
		}
		routes, err := parseRegistries(content, folders, host)
		if err != nil {
			return routing{}, fmt.Errorf("%s: %w", file, err)
		}
		if routes != nil {
			found.source, found.routes = file, routes
		}
	}
	found.http = fmt.Sprintf("add a [[registry]] with location = %q and insecure = true to %s", host, path)
	found.ca = fmt.Sprintf("put its authority's certificate into /etc/containers/certs.d/%s/ca.crt", host)
	return found, nil
}

// parseRegistries returns the routes to a host; nil where the file says nothing of
// it, and none where it may not be asked.
func parseRegistries(content []byte, folders []string, host string) ([]route, error) {
	var file registriesFile
	if err := toml.Unmarshal(content, &file); err != nil {
		return nil, notTOML(err)
	}
	var routes []route
	for _, r := range file.Registries {
		prefix := r.Prefix
		if prefix == "" {
			prefix = r.Location
		}
		wildcard, isWildcard := strings.CutPrefix(prefix, "*")
		if prefix != host && (!isWildcard || !strings.HasSuffix(host, wildcard)) {
			continue
		}
		routes = []route{}
		if r.Blocked {
			continue
		}
		for _, mirror := range r.Mirrors {
			routes = append(routes, crioRoute(folders, mirror.Location, mirror.Insecure))
		}
		location := r.Location
		if location == "" {
			location = host
		}
		routes = append(routes, crioRoute(folders, location, r.Insecure))
	}
	return routes, nil
}

// crioRoute is the way to a location: a host and maybe a path on it. An insecure
// one is asked over https without verification, and over http.
func crioRoute(folders []string, location string, insecure bool) route {
	host, _, _ := strings.Cut(location, "/")
	r := route{scheme: "https", host: host, either: insecure, skipVerify: insecure}
	if host == "docker.io" {
		r.host = "registry-1.docker.io"
	}
	for _, folder := range folders {
		if files := certificates(filepath.Join(folder, host)); len(files) > 0 {
			r.authorities = files
			break
		}
	}
	return r
}
