package registry

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	headerLimit = 64 << 10 // bytes of a response's headers
	bodyLimit   = 4 << 20  // bytes of a response's body; the largest manifest that a registry has to take
)

// tlsTrust decides how a registry's certificate is verified.
type tlsTrust struct {
	ca                 string // PEM file
	insecureSkipVerify bool
}

// transports holds one pool of connections for all registries of equal trust.
type transports map[tlsTrust]*http.Transport

func (t transports) get(wanted tlsTrust, timeout time.Duration) (*http.Transport, error) {
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

func (t tlsTrust) config() (*tls.Config, error) {
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
		DialContext: countConnections((&net.Dialer{Timeout: timeout, ControlContext: controlDial}).DialContext),
		// A dial goes on when its look-up has ended, and counts as a connection.
		TLSHandshakeTimeout:    timeout,
		TLSClientConfig:        config,
		Protocols:              protocols,
		MaxConnsPerHost:        connectionLimit + 1, // of look-ups, and one of checks and probes
		MaxIdleConnsPerHost:    connectionLimit,
		MaxIdleConns:           64,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: headerLimit,
	}
}

// pinnedTransport reaches a registry over the scheme of its address alone. Hosts that the
// registry points to are reached as it says, but over https if it is. The login of
// a request is not sent to another host that the request is redirected to.
type pinnedTransport struct {
	scheme, host string
	connections  *connectionCount // that the requests have opened
	next         http.RoundTripper
}

var (
	errPlainHTTP     = errors.New("leads to plain http, which its address forbids")
	errToHTTPS       = errors.New("redirects to https: write https:// in its address")
	errTokenRedirect = errors.New("its token server redirects to another host, which must not get the token")
)

// noResponseError is the error of a request without an HTTP response.
type noResponseError struct{ cause error }

func (s noResponseError) Error() string { return s.cause.Error() }
func (s noResponseError) Unwrap() error { return s.cause }

// RoundTrip implements [http.RoundTripper]. Where there is no HTTP answer its
// error holds a [silence]. The body of a response is bounded.
func (p pinnedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	plain := request.URL.Scheme != "https"
	if plain && p.scheme == "https" {
		return refuse(request, errPlainHTTP)
	}
	if !isSameHost(request.URL, origin(request).URL) {
		// Only what asks for a token has a body, which holds the identity token.
		if request.Body != nil {
			return refuse(request, errTokenRedirect)
		}
		request = request.Clone(request.Context())
		request.Header.Del("Authorization")
	}
	// A token server on a plain registry's own host and port speaks plain http too.
	if !plain && p.scheme == "http" && request.URL.Host == p.host {
		if request.Response != nil {
			return refuse(request, errToHTTPS)
		}
		request = request.Clone(request.Context())
		request.URL.Scheme = "http"
	}
	response, err := p.next.RoundTrip(request.WithContext(p.connections.withCounter(request.Context())))
	if err != nil {
		return nil, noResponseError{err}
	}
	response.Body = http.MaxBytesReader(nil, response.Body, bodyLimit)
	return response, nil
}

// origin returns the request that led to one by redirects.
func origin(request *http.Request) *http.Request {
	for request.Response != nil && request.Response.Request != nil {
		request = request.Response.Request
	}
	return request
}

// isSameHost reports whether two URLs lead to the same host and port.
func isSameHost(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		if u.Port() == "" && u.Scheme == "https" {
			return "443"
		}
		return cmp.Or(u.Port(), "80")
	}
	return strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// refuse ends a request unsent.
func refuse(request *http.Request, err error) (*http.Response, error) {
	if request.Body != nil {
		_ = request.Body.Close() // as the contract of http.RoundTripper asks
	}
	return nil, err
}
