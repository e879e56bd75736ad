package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// registriesFile is registries.conf (containers-registries.conf(5)), in version 2 or
// version 1 of the format.
type registriesFile struct {
	Registries []registriesEntry `toml:"registry"`
	First      struct {
		Search, Insecure, Block struct {
			Registries []string `toml:"registries"`
		}
	} `toml:"registries"`
}

type registriesEntry struct {
	registriesEndpoint
	Prefix       string               `toml:"prefix"`
	Blocked      bool                 `toml:"blocked"`
	ByDigestOnly bool                 `toml:"mirror-by-digest-only"`
	Mirrors      []registriesEndpoint `toml:"mirror"`
}

type registriesEndpoint struct {
	Location       string `toml:"location"`
	Insecure       bool   `toml:"insecure"`
	PullFromMirror string `toml:"pull-from-mirror"`
}

// crioRouting reads CRI-O's configuration of a registry host, or of a repository
// host/path: the main file and its drop-ins. A later file overrides earlier ones.
func crioRouting(path string, folders []string, name string) (routing, error) {
	host, _, _ := strings.Cut(name, "/")
	more, err := filepath.Glob(filepath.Join(path+".d", "*.conf"))
	if err != nil {
		return routing{}, err
	}
	found := routing{source: "CRI-O's default", routes: []route{crioRoute(folders, name, false)}}
	found.httpHint = fmt.Sprintf("add a [[registry]] with location = %q and insecure = true to %s", host, path)
	found.caHint = func(ca string) string {
		folder := "/etc/containers/certs.d/" + host
		if ca == "" {
			return fmt.Sprintf("put the certificate of the registry's CA into %s/ca.crt", folder)
		}
		return fmt.Sprintf("`mkdir -p %[1]s && cp %[2]s %[1]s/ca.crt`", shellWord(folder), shellWord(ca))
	}
	prefixes := map[string]registriesEntry{}
	sources := map[string]string{}
	for i, file := range append([]string{path}, more...) {
		content, err := readFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return routing{}, err
		}
		entries, err := parseRegistries(content, i > 0)
		if err != nil {
			return routing{}, fmt.Errorf("%s: %w: %w", file, errFileRejected, err)
		}
		for prefix, entry := range entries {
			prefixes[prefix], sources[prefix] = entry, file
		}
	}
	longest := ""
	for prefix := range prefixes {
		if covers(prefix, name) >= 0 && len(prefix) > len(longest) {
			longest = prefix
		}
	}
	if longest != "" {
		found.source, found.routes = sources[longest], prefixes[longest].routes(folders, name)
	}
	return found, nil
}

// parseRegistries returns the entries of a file by prefix. Of two entries with the same
// prefix, the first one is used. A drop-in must not be in version 1 of the format.
func parseRegistries(content []byte, inFolder bool) (map[string]registriesEntry, error) {
	var file registriesFile
	if err := decodeTOML(content, &file); err != nil {
		return nil, err
	}
	first := file.First
	if len(first.Search.Registries)+len(first.Insecure.Registries)+len(first.Block.Registries) > 0 {
		if inFolder || len(file.Registries) > 0 {
			return nil, errors.New("version 1 of the format is not allowed in a drop-in or together with [[registry]]")
		}
		for _, location := range append(first.Insecure.Registries, first.Block.Registries...) {
			file.Registries = append(file.Registries, registriesEntry{registriesEndpoint: registriesEndpoint{Location: location}})
		}
		for i := range file.Registries {
			entry := &file.Registries[i]
			entry.Insecure = contains(first.Insecure.Registries, entry.Location)
			entry.Blocked = contains(first.Block.Registries, entry.Location)
		}
	}
	entries := map[string]registriesEntry{}
	for _, entry := range file.Registries {
		prefix := strings.TrimRight(cmp.Or(entry.Prefix, entry.Location), "/")
		switch _, twice := entries[prefix]; {
		case entry.Location == "" && !strings.HasPrefix(prefix, "*."):
			return nil, errors.New("a [[registry]] has no location")
		case strings.HasPrefix(prefix, "*.") && strings.ContainsAny(prefix, "/@:"):
			return nil, errors.New("a prefix with * contains more than a host")
		case !entry.valid():
			return nil, errors.New("a location has a scheme, a mirror has no location, or pull-from-mirror is invalid")
		case !twice:
			entries[prefix] = entry
		}
	}
	return entries, nil
}

func contains(list []string, text string) bool {
	for _, item := range list {
		if strings.TrimRight(item, "/") == strings.TrimRight(text, "/") {
			return true
		}
	}
	return false
}

// valid reports whether CRI-O accepts the locations and the values of pull-from-mirror.
func (e registriesEntry) valid() bool {
	hasScheme := func(location string) bool {
		return strings.HasPrefix(location, "http://") || strings.HasPrefix(location, "https://")
	}
	if hasScheme(e.Location) || hasScheme(e.Prefix) || e.PullFromMirror != "" {
		return false
	}
	for _, mirror := range e.Mirrors {
		switch mirror.PullFromMirror {
		case "", "all", "digest-only", "tag-only":
		default:
			return false
		}
		if mirror.Location == "" || hasScheme(mirror.Location) || e.ByDigestOnly && mirror.PullFromMirror != "" {
			return false
		}
	}
	return true
}

// covers returns the length of the part of name that prefix matches, or -1 if prefix does
// not match. name is a host or host/path. A prefix without a port matches every port.
func covers(prefix, name string) int {
	end := -1
	if suffix, ok := strings.CutPrefix(prefix, "*"); ok {
		host, _, _ := strings.Cut(name, "/")
		if at := strings.Index(host, suffix); at >= 0 {
			end = at + len(suffix)
		}
	} else if strings.HasPrefix(name, prefix) {
		end = len(prefix)
	}
	if end < 0 || end < len(name) && name[end] != ':' && name[end] != '/' {
		return -1
	}
	return end
}

// routes returns the routes that CRI-O uses for tags of the host or repository. There are
// none if the registry is blocked.
func (e registriesEntry) routes(folders []string, name string) []route {
	if e.Blocked {
		return nil
	}
	rest := name[covers(strings.TrimRight(cmp.Or(e.Prefix, e.Location), "/"), name):]
	var routes []route
	for _, mirror := range e.Mirrors {
		if !e.ByDigestOnly && mirror.PullFromMirror != "digest-only" {
			routes = append(routes, crioRoute(folders, strings.TrimRight(mirror.Location, "/")+rest, mirror.Insecure))
		}
	}
	location := name
	if e.Location != "" {
		location = strings.TrimRight(e.Location, "/") + rest
	}
	return append(routes, crioRoute(folders, location, e.Insecure))
}

// crioRoute returns the route to a location, which is a host with an optional path. An
// insecure location is reached over https without verification, and then over http. CRI-O
// sends the login of a pull to every location (containers/image, GetCredentialsForRef).
func crioRoute(folders []string, location string, insecure bool) route {
	host, repository, _ := strings.Cut(location, "/")
	r := route{scheme: "https", host: servingHost(host), path: "/v2", httpFallback: insecure, skipVerify: insecure, resolvesTags: true, repository: repository, sharesLogin: true}
	for _, folder := range folders {
		if files := certificates(filepath.Join(folder, host)); len(files) > 0 {
			r.caFiles = files
			break
		}
	}
	return r
}
