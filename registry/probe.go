package registry

import (
	"cmp"
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Probe is the result of connecting and logging in to a registry. At most one of its
// errors is set. Their texts are as those of an [Answer].
type Probe struct {
	Registry string // its address
	Host     string // of the address, with the port
	Proxy    string // host and port of the proxy; empty: none

	Name       error                // of resolving the host
	Connection error                // of connecting to it
	TLS        error                // of the TLS handshake
	Session    *tls.ConnectionState // nil without TLS
	Answer     error                // of an answer that is not a registry's

	Latency time.Duration // of the answer, without the time to connect
	At      time.Time     // when the answer came, by the clock of this machine
	Date    time.Time     // the same by the registry's clock, to the second; zero if it sent none

	User  string // user name of the login; empty: anonymous
	Login error  // of the login
}

// Probe connects to every registry, first without credentials, then with those for the
// root of its API. It takes twice the look-up time-out at most, and changes neither
// caches nor circuits. The best priority comes first.
func (s *Set) Probe(ctx context.Context) []Probe {
	probes := make([]Probe, len(s.endpoints))
	var running sync.WaitGroup
	for i, e := range s.endpoints {
		running.Go(func() {
			probes[i] = Probe{Registry: e.location.String(), Host: e.location.host}
			e.probe(ctx, &probes[i])
		})
	}
	running.Wait()
	return probes
}

// probe fills in p. If the root of the API does not answer as that of a registry, the
// look-up of an image that hardly exists decides whether there is a registry.
func (e *endpoint) probe(ctx context.Context, p *Probe) {
	repository, err := e.location.exampleRepository()
	if err != nil {
		p.Answer = err
		return
	}
	image, err := reference.WithTag(repository, "latest")
	if err != nil {
		p.Answer = err
		return
	}
	if hasRoot, ok := e.client.probe(ctx, p, image); ok {
		e.probeLogin(ctx, p, image, hasRoot)
	}
}

// probe connects without credentials. ok reports whether a registry has answered, and
// hasRoot whether the root of its API has.
func (c *client) probe(ctx context.Context, p *Probe, image reference.Named) (hasRoot, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	trace := &connTrace{}
	response, err := c.send(httptrace.WithClientTrace(ctx, trace.hooks()), http.MethodGet, root, "")
	p.At = time.Now()
	if err == nil {
		defer discard(response)
		p.Session = response.TLS
		p.Date, _ = http.ParseTime(response.Header.Get("Date")) // zero without the header
		err = transport.CheckError(response, http.StatusOK, http.StatusUnauthorized)
	}
	trace.mu.Lock()
	defer trace.mu.Unlock()
	p.Proxy = trace.proxy(c.registry.RegistryStr())
	if err != nil && (response == nil || isOverloaded(response.StatusCode) || !c.hasManifests(ctx, image)) {
		*trace.errorField(p) = c.explain(ctx, err)
		return false, false
	}
	p.Latency = p.At.Sub(trace.gotConn)
	return err == nil, true
}

// hasManifests reports whether the answer for a manifest is a registry's: it asks
// for a login, or has an error code of the distribution specification.
func (c *client) hasManifests(ctx context.Context, image reference.Named) bool {
	_, err := c.with(Credentials{}).newSession().get(ctx, image)
	status, ok := statusOf(err)
	return err == nil || ok && status.StatusCode == http.StatusUnauthorized || isRegistryError(err)
}

// probeLogin logs in with the credentials for any repository: at the root of the API if
// the registry has one, otherwise with a look-up of image.
func (e *endpoint) probeLogin(ctx context.Context, p *Probe, image reference.Named, hasRoot bool) {
	ctx, cancel := context.WithTimeout(ctx, e.client.timeout)
	defer cancel()
	credentials, err := e.credentials(ctx, image)
	if err != nil {
		p.Login = credentialsFailure(err)
		return
	}
	if credentials != (Credentials{}) {
		p.User = cmp.Or(credentials.Username, "a token")
	}
	c := e.clientWith(credentials)
	if hasRoot {
		err = c.logInAtRoot(ctx)
	} else if _, err = c.newSession().get(ctx, image); isNotFound(err) {
		err = nil
	}
	if err != nil {
		p.Login = c.explain(ctx, err)
	}
}

func (c *client) logInAtRoot(ctx context.Context) error {
	response, err := c.newSession().request(ctx, http.MethodGet, root, "")
	if err != nil {
		return err
	}
	defer discard(response)
	return checkStatus(response)
}
