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
	headerLimit = 64 << 10 // size limit of a response's headers, in bytes
	bodyLimit   = 4 << 20  // size limit of a response's body: registries must accept manifests of this size
)

// tlsTrust is the configuration for verifying a registry's certificate.
type tlsTrust struct {
	ca                 string // PEM file
	insecureSkipVerify bool
}

// transports holds one connection pool for all registries with the same tlsTrust.
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
		return nil, fmt.Errorf("read CA file: %w", err)
	}
	if config.RootCAs, err = x509.SystemCertPool(); err != nil {
		config.RootCAs = x509.NewCertPool()
	}
	if !config.RootCAs.AppendCertsFromPEM(encoded) {
		return nil, fmt.Errorf("CA file %s contains no PEM certificate", t.ca)
	}
	return config, nil
}

// newTransport returns a transport with limits on connections and headers. timeout is that
// of a lookup.
func newTransport(config *tls.Config, timeout time.Duration) *http.Transport {
	// With HTTP/2, a dead connection would also fail the lookups that follow on it.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: countConnections((&net.Dialer{Timeout: timeout, ControlContext: controlDial}).DialContext),
		// A dial may outlive its lookup and then still counts as a connection.
		TLSHandshakeTimeout:    timeout,
		TLSClientConfig:        config,
		Protocols:              protocols,
		MaxConnsPerHost:        connectionLimit + 1, // for lookups, and one for pings and probes
		MaxIdleConnsPerHost:    connectionLimit,
		MaxIdleConns:           64,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: headerLimit,
	}
}

// pinnedTransport restricts the requests for a registry. The registry is reached only over
// the scheme of its address. Other hosts that it points to, by redirects or as token
// server, are reached over the scheme that it names, but only over https if the registry's
// own scheme is https. The Authorization header is not sent to another host after a
// redirect.
type pinnedTransport struct {
	scheme, host string
	connections  *connectionCount // connections opened by the requests
	next         http.RoundTripper
}

var (
	errPlainHTTP     = errors.New("leads to plain http, but the address is https")
	errToHTTPS       = errors.New("redirects to https: write https:// in address")
	errTokenRedirect = errors.New("token server redirects to another host, which must not receive the token")
)

// noResponseError is the error of a request that got no HTTP response.
type noResponseError struct{ cause error }

func (e noResponseError) Error() string { return e.cause.Error() }
func (e noResponseError) Unwrap() error { return e.cause }

// RoundTrip implements [http.RoundTripper]. The error wraps a noResponseError if the request
// was sent and got no response. The body of a response is limited to bodyLimit.
func (p pinnedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	plain := request.URL.Scheme != "https"
	if plain && p.scheme == "https" {
		return refuse(request, errPlainHTTP)
	}
	if !isSameHost(request.URL, origin(request).URL) {
		// Only a request for a token has a body. It contains the identity token.
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

// origin returns the first request of a chain of redirects.
func origin(request *http.Request) *http.Request {
	for request.Response != nil && request.Response.Request != nil {
		request = request.Response.Request
	}
	return request
}

// isSameHost reports whether two URLs have the same host and port.
func isSameHost(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		if u.Port() == "" && u.Scheme == "https" {
			return "443"
		}
		return cmp.Or(u.Port(), "80")
	}
	return strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// refuse returns err for a request that is not sent.
func refuse(request *http.Request, err error) (*http.Response, error) {
	if request.Body != nil {
		_ = request.Body.Close() // required by http.RoundTripper
	}
	return nil, err
}
