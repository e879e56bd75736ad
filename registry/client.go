package registry

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// repositoryLimit bounds the repositories that a puller remembers the login of.
const repositoryLimit = 1000

// client asks one registry about manifests.
type client struct {
	registry    name.Registry
	scheme      string
	transport   pinned
	userAgent   string
	timeout     time.Duration // of one look-up
	credentials Credentials

	mu           sync.Mutex
	puller       *remote.Puller
	repositories map[string]struct{} // that puller has been used for
}

func newClient(l location, credentials Credentials, options Options, next http.RoundTripper) (*client, error) {
	// go-containerregistry knows the host that docker.io is served from.
	registry, err := name.NewRegistry(l.host)
	if err != nil {
		return nil, err
	}
	c := &client{
		registry:    registry,
		scheme:      l.scheme,
		transport:   pinned{scheme: l.scheme, host: registry.RegistryStr(), connections: &connections{}, next: next},
		userAgent:   options.UserAgent,
		timeout:     options.LookupTimeout,
		credentials: credentials,
	}
	_, err = c.pullerFor("") // tells whether there will ever be one
	return c, err
}

// with returns such a client that logs in otherwise.
func (c *client) with(credentials Credentials) (*client, error) {
	other := &client{
		registry:    c.registry,
		scheme:      c.scheme,
		transport:   c.transport,
		userAgent:   c.userAgent,
		timeout:     c.timeout,
		credentials: credentials,
	}
	_, err := other.pullerFor("")
	return other, err
}

// find asks for a manifest. The digest is the registry's where it is Found, and
// the failure says why it is Unknown.
func (c *client) find(ctx context.Context, candidate reference.Named) (State, string, *failure) {
	descriptor, err := c.describe(ctx, candidate)
	switch {
	case isNotFound(err):
		return Absent, "", nil
	case err != nil:
		return Unknown, "", c.explain(ctx, err)
	case !isManifest(descriptor.MediaType):
		return Unknown, "", c.newFailure(ReasonAnswer, fmt.Sprintf("answered with %q, which is no image manifest", descriptor.MediaType), nil)
	default:
		return Found, descriptor.Digest.String(), nil
	}
}

// describe returns a manifest's digest and type: by a HEAD, or by a GET where
// the registry's answer to that is not enough.
func (c *client) describe(ctx context.Context, candidate reference.Named) (v1.Descriptor, error) {
	repository := c.registry.Repo(reference.Path(candidate))
	manifest, err := identify(repository, candidate)
	if err != nil {
		return v1.Descriptor{}, err
	}
	puller, err := c.pullerFor(repository.RepositoryStr())
	if err != nil {
		return v1.Descriptor{}, err
	}
	head, err := puller.Head(ctx, manifest)
	if err == nil {
		return *head, nil
	}
	if !wantsGet(err) {
		return v1.Descriptor{}, err
	}
	whole, err := puller.Get(ctx, manifest)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return whole.Descriptor, nil
}

func identify(repository name.Repository, candidate reference.Named) (name.Reference, error) {
	switch candidate := candidate.(type) {
	case reference.Digested:
		return repository.Digest(candidate.Digest().String()), nil
	case reference.Tagged:
		return repository.Tag(candidate.Tag()), nil
	default:
		return nil, errors.New("a look-up needs a tag or a digest")
	}
}

// wantsGet tells whether a HEAD failed for what it is: it is not allowed, or
// was answered without the headers that describe a manifest.
func wantsGet(err error) bool {
	if status, ok := errors.AsType[*transport.Error](err); ok {
		return status.StatusCode == http.StatusMethodNotAllowed || status.StatusCode == http.StatusNotImplemented
	}
	_, failed := errors.AsType[*url.Error](err)
	return !failed
}

// isManifest tells the types that runtimes pull as an image. A web page answers
// 200 as well.
func isManifest(contentType types.MediaType) bool {
	text, _, err := mime.ParseMediaType(string(contentType))
	mediaType := types.MediaType(text)
	return err == nil && (mediaType.IsImage() || mediaType.IsIndex() || mediaType.IsSchema1())
}

// pullerFor returns the puller to use for a repository. It keeps a login for
// each repository for ever, so that it is replaced now and then.
func (c *client) pullerFor(repository string) (*remote.Puller, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, known := c.repositories[repository]
	if c.puller == nil || (!known && len(c.repositories) >= repositoryLimit) {
		puller, err := c.newPuller()
		if err != nil {
			return nil, err
		}
		c.puller, c.repositories = puller, map[string]struct{}{}
	}
	c.repositories[repository] = struct{}{}
	return c.puller, nil
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

func (c *client) newPuller() (*remote.Puller, error) {
	return remote.NewPuller(
		remote.WithAuth(c.authenticator()),
		remote.WithTransport(c.transport),
		remote.WithUserAgent(c.userAgent),
		// A registry that fails once is Unknown now rather than found out later.
		remote.WithRetryPredicate(func(error) bool { return false }),
	)
}

// answers asks whether the registry is up: whether it answers anything at all
// at the API's root, and is not overloaded.
func (c *client) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	root := url.URL{Scheme: c.scheme, Host: c.registry.RegistryStr(), Path: "/v2/"}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, root.String(), nil)
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
