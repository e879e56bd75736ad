package config

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/distribution/reference"

	"image-cri-shim/hosts"
)

const addressForm = "http:// or https:// and host[:port][/prefix]"

// The grammar of github.com/distribution/reference, which splits an image name into
// host and repository. An image name can't refer to a host that the grammar rejects.
var (
	hostname   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	repository = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
)

const repositoryForm = "a repository path: lower-case letters and digits, separated by . _ __ or -, with / between its parts"

// The prefix of an address and a template leave room for the shortest image name.
const (
	templateLimit = reference.RepositoryNameTotalLengthMax
	prefixLimit   = templateLimit - len("/image")
)

// parseAddress parses the address of a registry and returns it normalized. The default scheme
// is https.
func parseAddress(v value) (string, error) {
	written, err := parseText(v, addressForm)
	if err != nil || written == "" {
		return "", err
	}
	scheme, rest, found := strings.Cut(written, "://")
	if !found {
		scheme, rest = "https", written
	}
	scheme = strings.ToLower(scheme)
	switch {
	case scheme != "http" && scheme != "https":
		return "", v.unexpected(addressForm)
	case strings.Contains(rest, "@"):
		return "", errors.New("found a user or password in the address, expected them under auth")
	case strings.ContainsAny(rest, "?#"):
		return "", errors.New("found a query or fragment (? or #), expected " + addressForm)
	}
	authority, prefix, _ := strings.Cut(rest, "/")
	authority = strings.ToLower(authority)
	if err := checkAuthority(authority); err != nil {
		return "", err
	}
	if authority == hosts.DockerHubIndex || authority == hosts.DockerHubRegistry {
		authority = hosts.DockerHub
	}
	prefix, err = withoutVersion(v, scheme+"://"+authority, strings.TrimRight(prefix, "/"))
	if err != nil {
		return "", err
	}
	if prefix == "" {
		return scheme + "://" + authority, nil
	}
	if !repository.MatchString(prefix) {
		return "", errors.New("found a prefix that image names can't have, expected " + repositoryForm) // it may be the end of a password
	}
	if len(prefix) > prefixLimit {
		return "", fmt.Errorf("found a prefix of %d characters, expected at most %d", len(prefix), prefixLimit)
	}
	return scheme + "://" + authority + "/" + prefix, nil
}

// withoutVersion removes the path of the registry's API, /v1 or /v2, which is not part of image
// names. A longer path that begins with it is ambiguous, and an error.
func withoutVersion(v value, server, prefix string) (string, error) {
	version, rest, _ := strings.Cut(prefix, "/")
	if version != "v1" && version != "v2" {
		return prefix, nil
	}
	if rest != "" {
		return "", fmt.Errorf("found the path %s, expected the address as in image names, such as %s: /%s is the path of the registry's API",
			quote("/"+prefix), server+"/"+abridge(rest), version)
	}
	v.warn("the path /%[1]s is the registry's API and is ignored; if its repositories do begin with %[1]s, set path: \"%[1]s/{path}\"", version)
	return "", nil
}

// checkAuthority returns an error unless image names can contain the host[:port].
func checkAuthority(authority string) error {
	host, port, hasPort := authority, "", false
	if colon := strings.LastIndexByte(authority, ':'); colon > strings.LastIndexByte(authority, ']') {
		host, port, hasPort = authority[:colon], authority[colon+1:], true
	}
	if number, err := strconv.ParseUint(port, 10, 16); hasPort && (err != nil || number == 0) {
		return fmt.Errorf("found a port of %s that is not a number from 1 to 65535, expected %s", quote(host), addressForm)
	}
	if strings.HasPrefix(host, "[") {
		return checkIPv6(host)
	}
	if !hostname.MatchString(host) {
		return fmt.Errorf("found the host %s, expected a DNS name, an IPv4 address or an IPv6 address in brackets", quote(host))
	}
	if !hasPort && host != "localhost" && !strings.Contains(host, ".") {
		return fmt.Errorf("found the host %s, expected one with a dot or a port (%s:5000), or localhost: "+
			"image names take this one for a part of the repository", quote(host), abridge(host))
	}
	return nil
}

// checkIPv6 returns an error unless host is an IPv6 address in brackets. Image names allow
// neither a zone nor a dotted IPv4 part in it.
func checkIPv6(host string) error {
	inner, closed := strings.CutSuffix(host[1:], "]")
	parsed, err := netip.ParseAddr(inner)
	if !closed || err != nil || !parsed.Is6() || strings.ContainsAny(inner, "%.") {
		return errors.New("found a bad host in brackets, expected an IPv6 address such as [fd00::1], without a zone or dots")
	}
	return nil
}
