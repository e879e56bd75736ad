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
			if e.client.visit(ctx, &visits[i]) {
				e.logIn(ctx, &visits[i])
			}
		})
	}
	running.Wait()
	return visits
}

// visit asks without credentials. It tells whether a registry has answered.
func (c *client) visit(ctx context.Context, v *Visit) bool {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	way := &way{}
	response, err := c.send(httptrace.WithClientTrace(ctx, way.trace()), http.MethodGet, root, "")
	v.At = time.Now()
	if err == nil {
		defer func() { _ = response.Body.Close() }()
		v.Session = response.TLS
		v.Date, _ = http.ParseTime(response.Header.Get("Date")) // zero where there is none
		err = transport.CheckError(response, http.StatusOK, http.StatusUnauthorized)
	}
	way.mu.Lock()
	defer way.mu.Unlock()
	v.Proxy = way.proxy(c.registry.RegistryStr())
	if err == nil {
		v.Latency = v.At.Sub(way.ready)
		return true
	}
	*way.problem(v) = c.explain(ctx, err)
	return false
}

// logIn asks with the credentials that hold for any repository.
func (e *endpoint) logIn(ctx context.Context, v *Visit) {
	ctx, cancel := context.WithTimeout(ctx, e.client.timeout)
	defer cancel()
	repository, err := parseRepository(path.Join(e.location.host, e.location.prefix, "image"))
	if err != nil {
		v.Login = err
		return
	}
	credentials, err := e.credentials(ctx, repository)
	if err != nil {
		v.Login = withoutCredentials(err)
		return
	}
	if credentials != (Credentials{}) {
		v.User = cmp.Or(credentials.Username, "a token")
	}
	c := e.clientWith(credentials)
	response, err := c.request(ctx, http.MethodGet, root, "")
	if err == nil {
		defer discard(response)
		err = checkStatus(response)
	}
	if err != nil {
		v.Login = c.explain(ctx, err)
	}
}
