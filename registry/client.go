package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// userAgent identifies the shim to registries and token servers.
const userAgent = "image-cri-shim"

// client looks up manifests in one registry with one set of credentials.
type client struct {
	registry    name.Registry
	scheme      string
	transport   pinnedTransport
	timeout     time.Duration // of one lookup
	credentials Credentials
	server      *serverState // shared by the clients of the registry

	mu     sync.Mutex
	logins map[string]login // by repository
}

func newClient(l location, credentials Credentials, options Options, next http.RoundTripper) (*client, error) {
	// go-containerregistry maps docker.io to the host that serves it.
	registry, err := name.NewRegistry(l.host)
	if err != nil {
		return nil, err
	}
	return &client{
		registry:    registry,
		scheme:      l.scheme,
		transport:   pinnedTransport{scheme: l.scheme, host: registry.RegistryStr(), connections: &connectionCount{}, next: next},
		timeout:     options.LookupTimeout,
		credentials: credentials,
		server:      &serverState{},
	}, nil
}

// with returns a client of the same registry with other credentials.
func (c *client) with(credentials Credentials) *client {
	return &client{
		registry:    c.registry,
		scheme:      c.scheme,
		transport:   c.transport,
		timeout:     c.timeout,
		credentials: credentials,
		server:      c.server,
	}
}

// find looks up a manifest. It returns the digest if the state is Found, and the failure
// if it is Unknown.
func (c *client) find(ctx context.Context, candidate reference.Named) (State, string, *failure) {
	found, err := c.newSession().describe(ctx, candidate)
	switch {
	case isNotFound(err) && c.isRegistry(ctx, candidate):
		return Absent, "", nil
	case err != nil:
		return Unknown, "", c.explain(ctx, err)
	case !isManifest(found.mediaType):
		return Unknown, "", c.newFailure(ReasonAnswer, fmt.Sprintf("answered with %q, which is not an image manifest", found.mediaType), nil)
	default:
		c.server.isRegistry.Store(true)
		return Found, found.digest, nil
	}
}

// root is the path of the API's root.
const root = "/v2/"

// send makes a request with an Authorization header, unless authorization is empty. The
// header is not sent to another host that the registry redirects to.
func (c *client) send(ctx context.Context, method, path, authorization string) (*http.Response, error) {
	target := url.URL{Scheme: c.scheme, Host: c.registry.RegistryStr(), Path: path}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", userAgent)
	if path != root {
		request.Header.Set("Accept", acceptedTypes)
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	return (&http.Client{Transport: c.transport}).Do(request)
}

// isOwn reports whether a response comes from the registry itself and not from another
// host that it redirects to.
func (c *client) isOwn(response *http.Response) bool {
	return response.Request.URL.Host == c.registry.RegistryStr()
}

// discard drains and closes the body of a response, so that the connection can be reused.
func discard(response *http.Response) {
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10) // a longer body costs the connection
	_ = response.Body.Close()
}

func (c *client) authenticator() authn.Authenticator {
	if c.credentials == (Credentials{}) {
		return authn.Anonymous
	}
	return authn.FromConfig(authn.AuthConfig{
		Username:      c.credentials.Username,
		Password:      c.credentials.Password,
		IdentityToken: c.credentials.IdentityToken,
		RegistryToken: c.credentials.RegistryToken,
	})
}

// ping reports whether the registry is up: it answers at the API root with a status other
// than 429 and 5xx.
func (c *client) ping(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.scheme+"://"+c.registry.RegistryStr()+root, nil)
	if err != nil {
		return false
	}
	request.Header.Set("User-Agent", userAgent)
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close() // only the status matters
	return !isOverloaded(response.StatusCode)
}

// isRegistry reports whether the address is that of an OCI registry. Only then does a 404
// for a manifest mean that the image is absent, since any web server answers 404. The API
// root alone does not decide, because a proxy may forward only repositories.
func (c *client) isRegistry(ctx context.Context, candidate reference.Named) bool {
	if c.server.isRegistry.Load() {
		return true
	}
	response, err := c.send(ctx, http.MethodGet, root, "")
	if err != nil {
		return false
	}
	discard(response)
	if response.StatusCode == http.StatusOK || response.StatusCode == http.StatusUnauthorized || c.answersAsRegistry(ctx, candidate) {
		c.server.isRegistry.Store(true)
		return true
	}
	return false
}

// answersAsRegistry reports whether a GET of an absent manifest is answered with an error
// code of the distribution specification.
func (c *client) answersAsRegistry(ctx context.Context, candidate reference.Named) bool {
	_, err := c.newSession().get(ctx, candidate)
	return isRegistryError(err)
}

// isRegistryError reports whether err is a 404 with an error code of the OCI distribution
// specification.
func isRegistryError(err error) bool {
	status, ok := statusOf(err)
	return ok && isNotFound(err) && slices.ContainsFunc(status.Errors, func(d transport.Diagnostic) bool {
		return strings.HasSuffix(string(d.Code), "_UNKNOWN") || d.Code == "NOT_FOUND"
	})
}
