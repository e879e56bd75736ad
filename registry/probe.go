package registry

import (
	"cmp"
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptrace"
	"path"
	"sync"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Visit is how far the way to a registry goes, and what it says at its API's root.
// At most one of its errors is set; their texts are as those of an [Answer].
type Visit struct {
	Registry string // its address
	Host     string // its part that image names have, with the port
	Proxy    string // the host that is asked in its place; empty without a proxy

	Name       error                // why its name has no address
	Connection error                // why nobody accepts a connection
	TLS        error                // why its certificate is not taken, or it does not speak TLS
	Session    *tls.ConnectionState // where it speaks TLS
	Answer     error                // why it does not answer as a registry does

	Latency time.Duration // of its answer over a connection that is there
	At      time.Time     // of its answer, by the clock of this machine
	Date    time.Time     // the same by its own clock, to the second; zero where it does not say

	User  string // who logs in; empty: nobody
	Login error  // why it does not let them in
}

// Visit asks every registry now: as anybody, then with the credentials for its
// root. It takes twice the look-up time-out at most, and caches and circuits stay as
// they are. The order is that of the priorities.
func (s *Set) Visit(ctx context.Context) []Visit {
	visits := make([]Visit, len(s.endpoints))
	var running sync.WaitGroup
	for i, e := range s.endpoints {
		running.Go(func() {
			visits[i] = Visit{Registry: e.location.String(), Host: e.location.host}
			e.visit(ctx, &visits[i])
		})
	}
	running.Wait()
	return visits
}

// visit asks a registry. If the root of its API answers otherwise than a registry's,
// an image that hardly exists tells whether it is one.
func (e *endpoint) visit(ctx context.Context, v *Visit) {
	repository, err := parseRepository(path.Join(e.location.host, e.location.prefix, "image"))
	if err != nil {
		v.Answer = err
		return
	}
	image, err := reference.WithTag(repository, "latest")
	if err != nil {
		v.Answer = err
		return
	}
	if hasRoot, ok := e.client.visit(ctx, v, image); ok {
		e.logIn(ctx, v, image, hasRoot)
	}
}

// visit asks without credentials. It reports whether a registry has answered, and
// whether the root of its API answers as it should.
func (c *client) visit(ctx context.Context, v *Visit, image reference.Named) (hasRoot, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	way := &way{}
	response, err := c.send(httptrace.WithClientTrace(ctx, way.trace()), http.MethodGet, root, "")
	v.At = time.Now()
	if err == nil {
		defer discard(response)
		v.Session = response.TLS
		v.Date, _ = http.ParseTime(response.Header.Get("Date")) // zero where there is none
		err = transport.CheckError(response, http.StatusOK, http.StatusUnauthorized)
	}
	way.mu.Lock()
	defer way.mu.Unlock()
	v.Proxy = way.proxy(c.registry.RegistryStr())
	if err != nil && (response == nil || isOverloaded(response.StatusCode) || !c.hasManifests(ctx, image)) {
		*way.problem(v) = c.explain(ctx, err)
		return false, false
	}
	v.Latency = v.At.Sub(way.ready)
	return err == nil, true
}

// hasManifests reports whether the answer for a manifest is a registry's: it asks
// for a login, or has an error code of the distribution specification.
func (c *client) hasManifests(ctx context.Context, image reference.Named) bool {
	_, err := c.with(Credentials{}).inquire().get(ctx, image)
	status, ok := statusOf(err)
	return err == nil || ok && status.StatusCode == http.StatusUnauthorized || isRegistrys(err)
}

// logIn asks with the credentials that hold for any repository: for the root of the
// API, or else for an image.
func (e *endpoint) logIn(ctx context.Context, v *Visit, image reference.Named, hasRoot bool) {
	ctx, cancel := context.WithTimeout(ctx, e.client.timeout)
	defer cancel()
	credentials, err := e.credentials(ctx, image)
	if err != nil {
		v.Login = withoutCredentials(err)
		return
	}
	if credentials != (Credentials{}) {
		v.User = cmp.Or(credentials.Username, "a token")
	}
	c := e.clientWith(credentials)
	if hasRoot {
		err = c.logInAtRoot(ctx)
	} else if _, err = c.inquire().get(ctx, image); isNotFound(err) {
		err = nil
	}
	if err != nil {
		v.Login = c.explain(ctx, err)
	}
}

func (c *client) logInAtRoot(ctx context.Context) error {
	response, err := c.inquire().request(ctx, http.MethodGet, root, "")
	if err != nil {
		return err
	}
	defer discard(response)
	return checkStatus(response)
}
