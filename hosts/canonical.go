// Package hosts decides which spellings of a registry's host mean one registry,
// and which repositories a pattern matches.
//
// A registry can be named in many ways. Registry.example.com, registry.example.com:443
// and registry.example.com:0443 are one registry, and so are docker.io, index.docker.io
// and registry-1.docker.io. A decision about an image must not depend on the spelling,
// so it uses the canonical form:
//
//	plain := hosts.PlainHTTP{}
//	plain.Add("http://hub.example.com")
//	pattern, err := plain.ParsePattern("registry.example.com/tenant")
//	...
//	pattern.Matches(plain.Repository("Registry.Example.com:443/tenant/app")) // true
//
// The canonical form is for comparisons only. Names in answers to clients and in
// requests to a runtime keep their spelling.
package hosts

import (
	"net/netip"
	"strings"
)

// The hosts of Docker Hub.
const (
	DockerHub         = "docker.io"            // in image names
	DockerHubIndex    = "index.docker.io"      // an older name of docker.io
	DockerHubRegistry = "registry-1.docker.io" // the host that serves docker.io
)

// Canonical returns the canonical form of host[:port]. Letters are in lower case, a
// port has no leading zeros, the default port of the scheme is omitted, an IPv6 address
// has its shortest form, an IPv4-mapped IPv6 address becomes an IPv4 address, and the
// hosts of Docker Hub become docker.io.
func Canonical(host, scheme string) string {
	name, port := canonicalParts(host)
	if port == defaultPort(scheme) {
		port = ""
	}
	if port == "" && isHub(name) {
		return DockerHub
	}
	return join(name, port)
}

// Normalize returns the canonical form of a host with an unknown scheme. A port stays, except
// port 443 of Docker Hub.
func Normalize(host string) string {
	name, port := canonicalParts(host)
	if isHub(name) && (port == "" || port == defaultPort("https")) {
		return DockerHub
	}
	return join(name, port)
}

func isHub(name string) bool {
	return name == DockerHub || name == DockerHubIndex || name == DockerHubRegistry
}

// canonicalParts returns the canonical name and the port of a host.
func canonicalParts(host string) (name, port string) {
	name, port = splitPort(strings.ToLower(host))
	return canonicalAddress(name), canonicalPort(port)
}

// splitPort splits off the port. A colon within brackets belongs to the host.
func splitPort(host string) (name, port string) {
	colon := strings.LastIndexByte(host, ':')
	if colon <= strings.LastIndexByte(host, ']') {
		return host, ""
	}
	return host[:colon], host[colon+1:]
}

func canonicalAddress(name string) string {
	inner, ok := strings.CutPrefix(name, "[")
	if !ok {
		return name
	}
	parsed, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
	if err != nil {
		return name
	}
	if parsed = parsed.Unmap(); parsed.Is4() {
		return parsed.String()
	}
	return "[" + parsed.String() + "]"
}

// canonicalPort removes leading zeros.
func canonicalPort(port string) string {
	if strings.Trim(port, "0123456789") != "" {
		return port
	}
	if trimmed := strings.TrimLeft(port, "0"); trimmed != "" || port == "" {
		return trimmed
	}
	return "0"
}

func defaultPort(scheme string) string {
	if scheme == "http" {
		return "80"
	}
	return "443"
}

// PlainHTTP is the set of configured hosts that are reached over plain http, in canonical
// form. An image's name has no scheme: the default port of its host is 80 if the host is
// in the set, and 443 otherwise.
type PlainHTTP map[string]bool

// Add adds the host of a registry's address, scheme://host[:port][/prefix], if the
// scheme is http.
func (p PlainHTTP) Add(address string) {
	if rest, ok := strings.CutPrefix(address, "http://"); ok {
		host, _, _ := strings.Cut(rest, "/")
		p[Canonical(host, "http")] = true
	}
}

// Canonical returns the canonical form of the host of an image's name.
func (p PlainHTTP) Canonical(host string) string {
	if canonical := Canonical(host, "http"); p[canonical] {
		return canonical
	}
	return Canonical(host, "https")
}

// Reference returns a reference with its host in canonical form, for comparisons.
func (p PlainHTTP) Reference(reference string) string {
	host, rest, _ := strings.Cut(reference, "/")
	return p.Canonical(host) + "/" + rest
}

// spellings returns the names of a canonical host that a glob may match: without and
// with its default port and, for Docker Hub, under each of its names.
func (p PlainHTTP) spellings(canonical string) []string {
	names := []string{canonical}
	if _, port := splitPort(canonical); port != "" {
		return names
	}
	if canonical == DockerHub {
		names = append(names, DockerHubIndex, DockerHubRegistry)
	}
	scheme := "https"
	if p[canonical] {
		scheme = "http"
	}
	for _, name := range names {
		names = append(names, name+":"+defaultPort(scheme))
	}
	return names
}
