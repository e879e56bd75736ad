package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"image-cri-shim/registry"
)

// pullLimit bounds the number of images whose manifests are requested for a registry.
const pullLimit = 4

// manifestCheck is the check whether the runtime gets the manifests of images that are on the
// node and in a registry.
type manifestCheck struct {
	trustCheck
	isCRIO bool
}

// found returns images of the node that a registry has. On CRI-O, the routes depend on the
// repository, so that all images are in the repository of the first.
func (n *node) found(address string) (found []registry.Answer) {
	for _, image := range n.images.lookups {
		for _, answer := range image.Answers {
			switch {
			case answer.Registry != address || answer.State != registry.Found || len(found) == pullLimit:
			case n.runtime.isCRIO() && len(found) > 0 && repositoryOf(found[0]) != repositoryOf(answer):
			default:
				found = append(found, answer)
			}
		}
	}
	return found
}

// split splits a canonical reference.
func split(reference string) (host, repository, identifier string) {
	host, rest, _ := strings.Cut(reference, "/")
	if repository, digest, ok := strings.Cut(rest, "@"); ok {
		return host, repository, digest
	}
	colon := strings.LastIndexByte(rest, ':')
	if colon < 0 {
		return host, rest, ""
	}
	return host, rest[:colon], rest[colon+1:]
}

// repositoryOf returns the host and the repository of the reference that was found.
func repositoryOf(answer registry.Answer) string {
	host, repository, _ := split(answer.Reference)
	return host + "/" + repository
}

// pulled is the way in which the runtime gets the manifest of an image.
type pulled struct {
	route  route
	digest string
	tried  []string // hosts that were tried before, and their errors
	failed []string // of these, the hosts that failed otherwise than by lacking the image
	err    error    // set if no host has the image for the runtime
	causes []error  // errors of the requests
}

// finding reports whether the runtime gets the manifests of the images.
func (c manifestCheck) finding(ctx context.Context, images []registry.Answer) Finding {
	t := topic{"pull", c.subject}
	if len(images) == 0 {
		return t.ok("not tried: no image on the node is in the registry")
	}
	pulls := make([]pulled, len(images))
	var running sync.WaitGroup
	for i, image := range images {
		running.Go(func() { pulls[i] = c.pull(ctx, image) })
	}
	running.Wait()
	for i, p := range pulls {
		if p.err != nil {
			return t.fail(c.hint(p), "%s: the runtime can't pull %s, which the registry has: %v", c.source, images[i].Reference, p.err)
		}
	}
	for i, p := range pulls {
		if p.digest != images[i].Digest {
			return t.warn("let the runtime use the same host as the shim, or copy the image to both hosts",
				"%s: the runtime gets %s from %v with the digest %.19s, but the registry has %.19s", c.source, images[i].Reference, p.route, p.digest, images[i].Digest)
		}
	}
	first := pulls[0]
	if len(first.failed) > 0 {
		return t.warn("correct that route, or remove it", "%s: the runtime gets the manifest of %s from %v, but at each pull first tries a route that fails: %s", c.source, images[0].Reference, first.route, strings.Join(first.failed, "; "))
	}
	note := ""
	if len(first.tried) > 0 {
		note = ", after " + strings.Join(first.tried, "; ")
	}
	return t.ok("the runtime gets the manifests of %s on the node, such as %s from %v%s", countImages(len(images)), images[0].Reference, first.route, note)
}

// hint returns the remedy for a failed pull.
func (c manifestCheck) hint(p pulled) string {
	isRefusal := func(err error) bool {
		answer, ok := errors.AsType[errNextHost](err)
		return ok && (answer.status == http.StatusUnauthorized || answer.status == http.StatusForbidden)
	}
	refused := slices.ContainsFunc(p.causes, isRefusal)
	isFile := strings.HasPrefix(c.source, "/")
	switch {
	case slices.Contains(p.causes, errNoPlatform):
		return "push the image for this platform"
	case refused && isFile:
		return "set auth to an account that may pull the image; for another host than the registry's, add its login to " + c.source + " or remove the host"
	case refused:
		return "set auth to an account that may pull the image"
	case isFile:
		return "correct the hosts in " + c.source + ", or remove those that fail"
	}
	return "see the registry's log"
}

// pull follows the routes of a pull. It requests the manifest by the tag and, as containerd
// does, again by its digest.
func (c manifestCheck) pull(ctx context.Context, image registry.Answer) (p pulled) {
	_, repository, identifier := split(image.Reference)
	var reasons, failed []string
	for i, r := range c.routes {
		result := c.results[i]
		switch {
		case !r.resolvesTags || result.client == nil:
			continue
		case result.scheme == "":
			reasons = append(reasons, fmt.Sprintf("%v: %v", r, result.err))
			continue
		}
		digest, err := c.request(r, result, image, repository).digest(ctx, identifier, c.isCRIO)
		if err == nil {
			return pulled{route: r, digest: digest, tried: reasons, failed: failed}
		}
		p.causes = append(p.causes, err)
		reasons = append(reasons, fmt.Sprintf("%v: %v", r, err))
		next, ok := errors.AsType[errNextHost](err)
		if !ok {
			break
		}
		if next.status != http.StatusNotFound { // a mirror without the image may well come first
			failed = append(failed, reasons[len(reasons)-1])
		}
	}
	return pulled{causes: p.causes, err: errors.New(strings.Join(slices.Compact(reasons), "; "))}
}

func (m manifestRequest) digest(ctx context.Context, identifier string, isCRIO bool) (string, error) {
	if isCRIO {
		return m.get(ctx, identifier)
	}
	digest, err := m.resolve(ctx, identifier)
	if err != nil {
		return "", err
	}
	return m.get(ctx, digest)
}

// request prepares the request that the runtime sends to a host. containerd sends the login
// only to the registry's own host, and adds the registry's name for a mirror. Neither runtime
// uses a registry token, and CRI-O uses only a user and a password.
func (c manifestCheck) request(r route, result routeResult, image registry.Answer, repository string) manifestRequest {
	name := repository
	if r.repository != "" {
		name = r.repository
	}
	m := manifestRequest{client: result.client, header: r.header, repository: name}
	m.base = url.URL{Scheme: result.scheme, Host: r.host, Path: r.path + "/" + name}
	host, _, _ := split(image.Reference)
	if !c.isCRIO && r.host != servingHost(host) {
		m.base.RawQuery = url.Values{"ns": {host}}.Encode()
	}
	server, err := url.Parse(image.Credentials.ServerAddress)
	if r.sharesLogin || err == nil && server.Host == r.host {
		m.credentials = image.Credentials
	}
	m.credentials.RegistryToken = ""
	if c.isCRIO {
		m.credentials.IdentityToken = ""
	}
	return m
}
