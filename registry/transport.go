package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

const (
	headerLimit = 64 << 10 // bytes of a response's headers
	bodyLimit   = 4 << 20  // bytes of a response's body; the largest manifest that a registry has to take
)

// trust is what decides how a registry's certificate is verified.
type trust struct {
	ca                 string // PEM file
	insecureSkipVerify bool
}

// transports holds one pool of connections for all registries of equal trust.
type transports map[trust]*http.Transport

func (t transports) get(wanted trust, timeout time.Duration) (*http.Transport, error) {
	if shared, ok := t[wanted]; ok {
		return shared, nil
	}
	config, err := wanted.config()
	if err != nil {
		return nil, err
	}
	t[wanted] = newTransport(config, timeout)
	return t[wanted], nil
}

func (t transports) closeIdle() {
	for _, transport := range t {
		transport.CloseIdleConnections()
	}
}

func (t trust) config() (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: t.insecureSkipVerify}
	if t.ca == "" {
		return config, nil
	}
	encoded, err := os.ReadFile(t.ca)
	if err != nil {
		return nil, fmt.Errorf("read the CA: %w", err)
	}
	if config.RootCAs, err = x509.SystemCertPool(); err != nil {
		config.RootCAs = x509.NewCertPool()
	}
	if !config.RootCAs.AppendCertsFromPEM(encoded) {
		return nil, fmt.Errorf("the CA %s holds no certificate in PEM form", t.ca)
	}
	return config, nil
}

// newTransport bounds what a look-up, which ends after timeout, can occupy.
func newTransport(config *tls.Config, timeout time.Duration) *http.Transport {
	// With HTTP/2 a dead connection would take the look-ups after it down too.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: counting((&net.Dialer{Timeout: timeout}).DialContext),
		// A dial goes on when its look-up has ended, and counts as a connection.
		TLSHandshakeTimeout:    timeout,
		TLSClientConfig:        config,
		Protocols:              protocols,
		MaxConnsPerHost:        connectionLimit,
		MaxIdleConnsPerHost:    connectionLimit,
		MaxIdleConns:           64,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: headerLimit,
	}
}

// pinned reaches a registry over the scheme of its address alone.
// go-containerregistry takes what looks like a local host to speak plain http
// as well, and tries https first on whatever it may reach over http. Hosts that
// the registry points to are reached as it says, but over https where it is.
type pinned struct {
	scheme, host string
	connections  *connections // that the requests have opened
	next         http.RoundTripper
}

var (
	errPlainHTTP = errors.New("leads to plain http, which its address forbids")
	errToHTTPS   = errors.New("redirects to https: write https:// in its address")
	errForm      = errors.New("its token server redirects to another host, which must not get the token")
)

// silence is why a request got no HTTP answer.
type silence struct{ cause error }

func (s silence) Error() string { return s.cause.Error() }
func (s silence) Unwrap() error { return s.cause }

// RoundTrip implements [http.RoundTripper]. Where there is no HTTP answer its
// error holds a [silence]. The body of a response is bounded.
func (p pinned) RoundTrip(request *http.Request) (*http.Response, error) {
	plain := request.URL.Scheme != "https"
	if plain && p.scheme == "https" {
		return refuse(request, errPlainHTTP)
	}
	// Only what asks for a token has a body, which holds the identity token.
	if request.Body != nil && request.Response != nil && request.Response.Request.URL.Host != request.URL.Host {
		return refuse(request, errForm)
	}
	if !plain && p.scheme == "http" && request.URL.Host == p.host {
		if leadsToHTTPS(request.Response) {
			return refuse(request, errToHTTPS)
		}
		request = request.Clone(request.Context())
		request.URL.Scheme = "http"
	}
	response, err := p.next.RoundTrip(request.WithContext(p.connections.counted(request.Context())))
	if err != nil {
		return nil, silence{err}
	}
	response.Body = http.MaxBytesReader(nil, response.Body, bodyLimit)
	return response, nil
}

// leadsToHTTPS tells whether a response, nil if there was none, redirects to https
// in so many words: a relative location is one of the request's own scheme, which
// go-containerregistry has set to https.
func leadsToHTTPS(redirect *http.Response) bool {
	if redirect == nil {
		return false
	}
	location, err := url.Parse(redirect.Header.Get("Location"))
	return err != nil || location.Scheme == "https"
}

// refuse ends a request unsent.
func refuse(request *http.Request, err error) (*http.Response, error) {
	if request.Body != nil {
		_ = request.Body.Close() // as the contract of http.RoundTripper asks
	}
	return nil, err
}
