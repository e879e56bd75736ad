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

// Probe is the result of connecting and logging in to a registry. At most one error is
// set. Its text is redacted and bounded like that of [Answer].Err.
type Probe struct {
	Registry string // address of the registry
	Host     string // host and port of the address
	Proxy    string // host and port of the proxy; empty: none

	Name       error                // resolving the host failed
	Connection error                // connecting to the host failed
	TLS        error                // the TLS handshake failed
	Session    *tls.ConnectionState // nil without TLS
	Answer     error                // the response is not that of a registry

	Latency time.Duration // from the ready connection to the response
	At      time.Time     // time of the response, by the clock of this machine
	Date    time.Time     // time of the response, by the registry's clock in seconds; zero without a Date header

	User  string // user name of the login; empty: anonymous
	Login error  // the login failed
}

// Probe connects to every registry, first without credentials and then with them. It takes
// at most twice Options.LookupTimeout and does not change caches or circuits. The highest
// priority comes first.
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

// probe fills in p. If the response at the API root is not that of a registry, the probe
// requests the manifest of an image that is unlikely to exist, and judges by that response.
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

// probe connects without credentials. ok reports whether a registry answered, and hasRoot
// whether it answered at the API root.
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

// hasManifests reports whether the response for a manifest is that of a registry: it is a
// manifest, asks for a login, or has an error code of the OCI distribution specification.
func (c *client) hasManifests(ctx context.Context, image reference.Named) bool {
	_, err := c.with(Credentials{}).newSession().get(ctx, image)
	status, ok := statusOf(err)
	return err == nil || ok && status.StatusCode == http.StatusUnauthorized || isRegistryError(err)
}

// probeLogin logs in with the credentials for image: at the API root if hasRoot is set,
// and otherwise by requesting the manifest of image.
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
