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

// normalizeKey makes host[/path] of a key of a file with credentials, which may also
// be a URL of the registry's API. The host may be a pattern.
func normalizeKey(key string) (string, error) {
	if scheme, rest, found := strings.Cut(key, "://"); found {
		if scheme != "https" && scheme != "http" {
			return "", errors.New("is no host and no URL of http or https")
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
		return "", errors.New("is no host")
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

// isGlob reports whether a normalized key is a pattern, and not an IPv6 address.
func isGlob(key string) bool {
	host, _, _ := strings.Cut(key, "/")
	if address, _, found := strings.Cut(strings.TrimPrefix(host, "["), "]"); found && strings.HasPrefix(host, "[") {
		if _, err := netip.ParseAddr(address); err == nil {
			return false
		}
	}
	return strings.ContainsAny(host, "*?[")
}

// checkGlob returns an error for a pattern that matches no registry's host.
func checkGlob(host string) error {
	name, port := splitPort(host)
	for part := range strings.SplitSeq(name, ".") {
		if _, err := path.Match(part, ""); err != nil || part == "" {
			return fmt.Errorf("is a bad pattern of a host")
		}
	}
	if strings.ContainsAny(port, "*?[") {
		return errors.New("matches nothing: a port can't be a pattern")
	}
	if port == "" && !strings.Contains(name, ".") {
		return errors.New("matches nothing: each * stands for one part of a host between dots, as in *.example.com")
	}
	return nil
}

func splitPort(host string) (name, port string) {
	if colon := strings.LastIndexByte(host, ':'); colon >= 0 {
		return host[:colon], host[colon+1:]
	}
	return host, ""
}

// matchesGlob reports whether a pattern fits a host, as kubelet compares them: the
// port is the same, and each part between dots fits its counterpart.
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

// lookupNames returns the names of a repository that keys are compared with: its host in
// canonical form, without and with the scheme's default port.
func lookupNames(scheme string, repository reference.Named) []string {
	host, path := hosts.Canonical(reference.Domain(repository), scheme), reference.Path(repository)
	port := ":443"
	if scheme == "http" {
		port = ":80"
	}
	return []string{host + "/" + path, host + port + "/" + path}
}

// longestMatch returns the entry of the longest key that one of a repository's names
// begins with, and that name. Among keys of one length a host counts before a pattern of
// hosts.
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
