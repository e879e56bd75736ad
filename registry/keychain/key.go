package keychain

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"image-cri-shim/hosts"
)

// normalizeKey converts a key of a credentials file to host[/path]. The key may also be a
// URL of the registry's API, such as https://index.docker.io/v1/. The host may be a pattern.
func normalizeKey(key string) (string, error) {
	if scheme, rest, found := strings.Cut(key, "://"); found {
		if scheme != "https" && scheme != "http" {
			return "", errors.New("is neither a host nor an http or https URL")
		}
		key = rest
	}
	host, path, _ := strings.Cut(key, "/")
	path = strings.TrimSuffix(path, "/")
	for _, version := range []string{"v1", "v2"} { // of the API
		if path == version {
			path = ""
		}
		path = strings.TrimPrefix(path, version+"/")
	}
	if host == "" || strings.ContainsAny(key, " \t\r\n@#\\") {
		return "", errors.New("is not a host")
	}
	if strings.ContainsAny(path, "*?[") {
		return "", errors.New("matches nothing: only the host may have a *")
	}
	host = hosts.Normalize(host)
	if isGlob(host) {
		if err := checkGlob(host); err != nil {
			return "", err
		}
	}
	if path != "" {
		return host + "/" + path, nil
	}
	return host, nil
}

// isGlob reports whether a normalized key is a pattern. The brackets of an IPv6 address are
// not a pattern.
func isGlob(key string) bool {
	host, _, _ := strings.Cut(key, "/")
	if address, _, found := strings.Cut(strings.TrimPrefix(host, "["), "]"); found && strings.HasPrefix(host, "[") {
		if _, err := netip.ParseAddr(address); err == nil {
			return false
		}
	}
	return strings.ContainsAny(host, "*?[")
}

// checkGlob returns an error for a pattern that can't match the host of a registry.
func checkGlob(host string) error {
	name, port := splitPort(host)
	for part := range strings.SplitSeq(name, ".") {
		if _, err := path.Match(part, ""); err != nil || part == "" {
			return fmt.Errorf("is not a valid host pattern")
		}
	}
	if strings.ContainsAny(port, "*?[") {
		return errors.New("matches nothing: a port can't be a pattern")
	}
	if port == "" && !strings.Contains(name, ".") {
		return errors.New("matches nothing: each * matches one part of a host between dots, as in *.example.com")
	}
	return nil
}

func splitPort(host string) (name, port string) {
	if colon := strings.LastIndexByte(host, ':'); colon >= 0 {
		return host[:colon], host[colon+1:]
	}
	return host, ""
}

// matchesGlob reports whether a pattern matches a host by kubelet's rules: the ports are
// equal, and each part between dots matches its counterpart.
func matchesGlob(glob, host string) bool {
	globName, globPort := splitPort(glob)
	name, port := splitPort(host)
	globParts, parts := strings.Split(globName, "."), strings.Split(name, ".")
	if globPort != port || len(globParts) != len(parts) {
		return false
	}
	for i, part := range parts {
		if matched, err := path.Match(globParts[i], part); err != nil || !matched {
			return false
		}
	}
	return true
}

// lookupNames returns the names of a repository that are compared with keys. The host is
// in canonical form, once without and once with the default port of the scheme.
func lookupNames(scheme string, repository reference.Named) []string {
	host, path := hosts.Canonical(reference.Domain(repository), scheme), reference.Path(repository)
	port := ":443"
	if scheme == "http" {
		port = ":80"
	}
	return []string{host + "/" + path, host + port + "/" + path}
}

// longestMatch returns the entry with the longest key that is a prefix of one of names, and
// the matching part of that name. A key with a host takes precedence over a pattern of the
// same path.
func longestMatch[T any](entries map[string]T, globs, names []string) (key, name string, entry T, found bool) {
	for names = slices.Clone(names); ; {
		for _, name := range names {
			if entry, found = entries[name]; found {
				return name, name, entry, true
			}
		}
		for _, name := range names {
			host, path, _ := strings.Cut(name, "/")
			for _, glob := range globs {
				globHost, globPath, _ := strings.Cut(glob, "/")
				if entry, found = entries[glob]; found && globPath == path && matchesGlob(globHost, host) {
					return glob, name, entry, true
				}
			}
		}
		for i, name := range names {
			slash := strings.LastIndexByte(name, '/')
			if slash < 0 {
				var none T
				return "", "", none, false
			}
			names[i] = name[:slash]
		}
	}
}
