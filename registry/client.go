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

// client asks one registry about manifests, with one login.
type client struct {
	registry    name.Registry
	scheme      string
	transport   pinnedTransport
	userAgent   string
	timeout     time.Duration // of one look-up
	credentials Credentials
	server      *serverState // shared by the clients of the registry

	mu     sync.Mutex
	logins map[string]login // by repository
}

func newClient(l location, credentials Credentials, options Options, next http.RoundTripper) (*client, error) {
	// go-containerregistry knows the host that docker.io is served from.
	registry, err := name.NewRegistry(l.host)
	if err != nil {
		return nil, err
	}
	return &client{
		registry:    registry,
		scheme:      l.scheme,
		transport:   pinnedTransport{scheme: l.scheme, host: registry.RegistryStr(), connections: &connectionCount{}, next: next},
		userAgent:   options.UserAgent,
		timeout:     options.LookupTimeout,
		credentials: credentials,
		server:      &serverState{},
	}, nil
}

// with returns a client of the same registry that logs in otherwise.
func (c *client) with(credentials Credentials) *client {
	return &client{
		registry:    c.registry,
		scheme:      c.scheme,
		transport:   c.transport,
		userAgent:   c.userAgent,
		timeout:     c.timeout,
		credentials: credentials,
		server:      c.server,
	}
}

// find asks for a manifest. The digest is the registry's if it is Found, and the
// failure says why it is Unknown.
func (c *client) find(ctx context.Context, candidate reference.Named) (State, string, *failure) {
	found, err := c.newSession().describe(ctx, candidate)
	switch {
	case isNotFound(err) && c.isRegistry(ctx, candidate):
		return Absent, "", nil
	case err != nil:
		return Unknown, "", c.explain(ctx, err)
	case !isManifest(found.mediaType):
		return Unknown, "", c.newFailure(ReasonAnswer, fmt.Sprintf("answered with %q, which is no image manifest", found.mediaType), nil)
	default:
		c.server.isRegistry.Store(true)
		return Found, found.digest, nil
	}
}

// root is the path of the API's root.
const root = "/v2/"

// send makes a request with the value of an Authorization header, which may be
// empty. What the registry redirects to on another host gets none.
func (c *client) send(ctx context.Context, method, path, authorization string) (*http.Response, error) {
	target := url.URL{Scheme: c.scheme, Host: c.registry.RegistryStr(), Path: path}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", c.userAgent)
	if path != root {
		request.Header.Set("Accept", acceptedTypes)
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	return (&http.Client{Transport: c.transport}).Do(request)
}

// isOwn reports whether a response is the registry's and not that of a host which
// it redirects to.
func (c *client) isOwn(response *http.Response) bool {
	return response.Request.URL.Host == c.registry.RegistryStr()
}

// discard ends a response that is not looked at, so that its connection can be used
// again.
func discard(response *http.Response) {
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10) // a longer one ends the connection
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

// ping reports whether the registry is up: it answers at the root of the API, and not
// that it is overloaded.
func (c *client) ping(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.scheme+"://"+c.registry.RegistryStr()+root, nil)
	if err != nil {
		return false
	}
	request.Header.Set("User-Agent", c.userAgent)
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close() // there is nothing in it that matters
	return !isOverloaded(response.StatusCode)
}

// isRegistry reports whether there is an OCI registry at the address, so that a 404
// for a manifest is to be believed: a web server has no manifests either. The root
// of the API alone can't tell, because a proxy may forward repositories only.
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

// answersAsRegistry reports whether the answer to a GET of an absent manifest is a
// registry's.
func (c *client) answersAsRegistry(ctx context.Context, candidate reference.Named) bool {
	_, err := c.newSession().get(ctx, candidate)
	return isRegistryError(err)
}

// isRegistryError reports whether a 404 has an error code of the distribution
// specification.
func isRegistryError(err error) bool {
	status, ok := statusOf(err)
	return ok && isNotFound(err) && slices.ContainsFunc(status.Errors, func(d transport.Diagnostic) bool {
		return strings.HasSuffix(string(d.Code), "_UNKNOWN") || d.Code == "NOT_FOUND"
	})
}
