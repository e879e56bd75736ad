package registry

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/distribution/reference"

	"image-cri-shim/hosts"
	"image-cri-shim/printable"
	"image-cri-shim/registry/keychain"
)

// endpoint is one registry of a [Set].
type endpoint struct {
	location location
	priority int
	patterns patterns
	plain    hosts.PlainHTTP // of all registries of the set
	public   bool            // the host serves images of many owners
	tags     tags
	fallback Fallback
	template template
	login    Credentials    // as configured
	authFile *keychain.File // used instead of login; may be nil
	client   *client        // with login
	breaker  *breaker
	stats    lookupStats
	slots    slots // shared by the registries on one host
	lookups  int   // running and waiting lookups; guarded by Set.mu
	ping     *ping // ping in progress, or nil; guarded by Set.mu

	mu      sync.Mutex
	clients map[Credentials]*client // for the credentials of authFile
}

// clientLimit bounds the clients of a registry, because its file may have different
// credentials for each repository.
const clientLimit = 16

// credentials returns the credentials for a repository of the registry. It may read a file
// or run a credential helper, until ctx is done.
func (e *endpoint) credentials(ctx context.Context, repository reference.Named) (Credentials, error) {
	if e.authFile == nil {
		return e.login, nil
	}
	return e.authFile.Credentials(ctx, e.location.serverAddress(), repository)
}

// AuthFileProblems returns the unusable entries of the registries' credentials files: one
// line each with the file and the key, without secrets. It reads the files and waits at
// most one second for each. A file that does not exist is skipped.
func (s *Set) AuthFileProblems() []string {
	var problems []string
	read := map[string]bool{}
	for _, e := range s.endpoints {
		if e.authFile != nil && !read[e.authFile.Path()] {
			read[e.authFile.Path()] = true
			problems = append(problems, e.authFile.Problems(s.lifetime)...)
		}
	}
	return problems
}

// credentialsFailure returns the failure of a lookup that could not get its credentials.
func credentialsFailure(err error) *failure {
	return &failure{reason: ReasonCredentials, text: printable.Line(err.Error(), textLimit)}
}

// clientWith returns the client for some credentials. Each client has its own logins, so
// that changed credentials take effect at once.
func (e *endpoint) clientWith(credentials Credentials) *client {
	if credentials == e.login {
		return e.client
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if known, ok := e.clients[credentials]; ok {
		return known
	}
	made := e.client.with(credentials)
	if e.clients == nil || len(e.clients) >= clientLimit {
		e.clients = map[Credentials]*client{}
	}
	e.clients[credentials] = made
	return made
}

// find looks up a candidate with the given credentials. If the registry rejects them, the
// answers of credential helpers are dropped.
func (e *endpoint) find(ctx context.Context, candidate reference.Named, credentials Credentials) (State, string, *failure) {
	state, digest, failure := e.clientWith(credentials).find(ctx, candidate)
	if failure != nil && failure.rejected && e.authFile != nil {
		e.authFile.Forget()
	}
	return state, digest, failure
}

// newEndpoint returns the endpoint of a registry. Its error does not name the registry.
func newEndpoint(config Config, options Options, transport http.RoundTripper) (*endpoint, error) {
	location, err := parseAddress(config.Address)
	if err != nil {
		return nil, err
	}
	e := &endpoint{
		location: location,
		priority: config.Priority,
		plain:    options.plain,
		public:   hosts.IsPublic(location.canonical()),
		tags:     parseTags(config.Tags),
		fallback: config.Fallback,
		template: template(cmp.Or(config.Path, "{path}")),
	}
	if e.patterns, err = parsePatterns(config.Match, e.plain); err != nil {
		return nil, err
	}
	address := location.String()
	if config.AuthFile != "" {
		e.authFile = keychain.Open(config.AuthFile, func(err error) {
			options.OnAuthFile(fmt.Errorf("%s: %w", address, err))
		})
	}
	if config.Username != "" {
		e.login = Credentials{Username: config.Username, Password: config.Password, ServerAddress: location.serverAddress()}
	}
	if e.client, err = newClient(location, e.login, options, transport); err != nil {
		return nil, fmt.Errorf("create client: %w", err)
	}
	e.breaker = &breaker{notify: func(open bool, reason string) { options.OnBreaker(address, open, reason) }}
	return e, nil
}
