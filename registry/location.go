package registry

import (
	"errors"
	"path"
	"strings"

	"github.com/distribution/reference"

	"image-cri-shim/hosts"
)

// location is the address of a registry.
type location struct {
	scheme string
	host   string // with the port, as written in image names
	prefix string // of every repository; may be empty
}

func (l location) String() string {
	text := l.scheme + "://" + l.host
	if l.prefix != "" {
		text += "/" + l.prefix
	}
	return text
}

// canonical returns the host in the form used for comparisons.
func (l location) canonical() string { return hosts.Canonical(l.host, l.scheme) }

// serverAddress returns the URL of the registry's host for credentials. The runtime
// compares it with the host that it logs in to (containerd's ParseAuth).
func (l location) serverAddress() string {
	host := l.host
	if host == hosts.DockerHub {
		host = hosts.DockerHubRegistry
	}
	return l.scheme + "://" + host
}

// parseAddress splits an address. Package config validates addresses; parseAddress rejects
// only those that can't begin an image name.
func parseAddress(address string) (location, error) {
	scheme, rest, _ := strings.Cut(address, "://")
	host, prefix, _ := strings.Cut(rest, "/")
	l := location{scheme: scheme, host: strings.ToLower(host), prefix: strings.Trim(prefix, "/")}
	if l.host == hosts.DockerHubIndex {
		l.host = hosts.DockerHub
	}
	if _, err := l.exampleRepository(); err != nil || scheme != "http" && scheme != "https" {
		return location{}, errors.New("address must be http(s)://host[:port][/prefix], with a host and a prefix that can begin an image name")
	}
	return l, nil
}

// exampleRepository returns a repository that images of the registry may have. On Docker Hub
// it needs a folder: docker.io/image is another spelling of docker.io/library/image.
func (l location) exampleRepository() (reference.Named, error) {
	folder := l.prefix
	if folder == "" && l.host == hosts.DockerHub {
		folder = "library"
	}
	return parseRepository(path.Join(l.host, folder, "image"))
}

// parseRepository parses a canonical repository without tag and digest.
func parseRepository(text string) (reference.Named, error) {
	named, err := reference.ParseNamed(text)
	if err == nil && !reference.IsNameOnly(named) {
		err = reference.ErrReferenceInvalidFormat
	}
	return named, err
}
