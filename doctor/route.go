package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
)

// route is a host that the runtime pulls the images of a registry from.
type route struct {
	scheme, host       string
	path               string      // path of the API, such as /v2
	httpFallback       bool        // https is tried first, then http
	skipVerify         bool        // the certificate is not verified
	caFiles            []string    // files with certificates trusted in addition to the system's
	clientCertificates [][2]string // files of a client certificate and its key; the second is empty if one file has both
	resolvesTags       bool        // the runtime uses the host for tags
	header             http.Header // added to each request, from the runtime's file; may contain a login
	repository         string      // path of the repository on the host; empty: that of the image's name
	sharesLogin        bool        // the runtime sends the login for the registry to this host too
}

func (r route) String() string { return r.scheme + "://" + r.host }

// routeLimit bounds the number of routes that are probed for a registry.
const routeLimit = 16

// routeResult is the result of probing a route.
type routeResult struct {
	client *http.Client // with the runtime's TLS configuration for the host
	scheme string       // scheme of the answered request; empty if the host did not answer
	hangs  bool         // the host accepts connections, but does not answer; the runtime then waits
	err    error        // reason why the runtime can't pull from the host
}

// probeRoutes sends a request over each route, as the runtime would. login is the host for
// which the runtime has a login. probeRoutes returns an error if the runtime can't read a
// file that it needs, because the runtime then contacts no host.
func probeRoutes(ctx context.Context, routes []route, login string) ([]routeResult, error) {
	results := make([]routeResult, len(routes))
	configs := make([]*tls.Config, len(routes))
	for i, r := range routes {
		var err error
		if configs[i], err = r.tlsConfig(); err != nil {
			return nil, err
		}
	}
	var running sync.WaitGroup
	for i, r := range routes {
		switch {
		case !r.resolvesTags:
			results[i].err = errors.New("not used for tags")
		case i >= routeLimit:
			results[i].err = fmt.Errorf("not checked, because the doctor checks at most %d hosts", routeLimit)
		default:
			running.Go(func() {
				results[i] = r.probe(ctx, configs[i], r.sharesLogin || r.header.Get("Authorization") != "" || r.host == login)
			})
		}
	}
	running.Wait()
	return results, nil
}

// tlsConfig returns the TLS configuration that the runtime uses for the host. It reads the
// files with certificates.
func (r route) tlsConfig() (*tls.Config, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	config := &tls.Config{RootCAs: pool, InsecureSkipVerify: r.skipVerify} // as the runtime does
	for _, file := range r.caFiles {
		content, err := readFile(file)
		if err != nil {
			return nil, fmt.Errorf("it can't read %s: %w", file, rootCause(err))
		}
		if !pool.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("it can't read %s: no PEM certificate", file)
		}
	}
	for _, pair := range r.clientCertificates {
		key := pair[1]
		if key == "" {
			key = pair[0]
		}
		certificate, err := tls.LoadX509KeyPair(pair[0], key)
		if err != nil {
			return nil, fmt.Errorf("it can't read %s: %w", pair[0], rootCause(err))
		}
		config.Certificates = append(config.Certificates, certificate)
	}
	return config, nil
}

// probe requests the root of the API.
func (r route) probe(ctx context.Context, config *tls.Config, hasLogin bool) routeResult {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10}
	result := routeResult{client: &http.Client{Transport: transport}}
	schemes := []string{r.scheme}
	if r.httpFallback {
		schemes = []string{"https", "http"}
	}
	for _, scheme := range schemes {
		answered, err := r.request(ctx, result.client, scheme, hasLogin)
		if answered {
			result.scheme = scheme
		}
		if err == nil || result.err == nil || errors.Is(result.err, http.ErrSchemeMismatch) { // the server speaks http
			result.err = err
		}
		if err == nil || errors.Is(err, errHangs) {
			break
		}
	}
	result.hangs = errors.Is(result.err, errHangs)
	return result
}

// errHangs is the error of a host that accepts a connection and does not answer. containerd
// 1.6 waits without a limit, and later versions until the pull is cancelled for lack of
// progress, so that no other host is tried.
var errHangs = errors.New("the host accepts the connection, but does not answer; the runtime waits for it and tries no other host")

// request requests the root of the API. answered reports whether the host answered.
func (r route) request(ctx context.Context, client *http.Client, scheme string, hasLogin bool) (answered bool, err error) {
	root := url.URL{Scheme: scheme, Host: r.host, Path: r.path + "/"}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, root.String(), nil)
	if err != nil {
		return false, errors.New("the URL of the host is not valid")
	}
	connected := false
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }}
	response, err := client.Do(request.WithContext(httptrace.WithClientTrace(ctx, trace)))
	switch {
	case connected && errors.Is(err, context.DeadlineExceeded):
		return false, errHangs
	case err != nil:
		return false, withoutURL(err)
	}
	defer func() { _ = response.Body.Close() }()
	challenge := strings.ToLower(response.Header.Get("WWW-Authenticate"))
	switch code := response.StatusCode; {
	case code == http.StatusUnauthorized && !hasLogin && strings.HasPrefix(challenge, "basic"):
		return true, errors.New("the host requires a login, but the runtime has one only for the registry's own host")
	case code == http.StatusBadRequest && scheme == "http":
		return true, fmt.Errorf("the host answered %s to http: it may expect https", response.Status)
	case code == http.StatusBadRequest || code >= http.StatusInternalServerError:
		return true, fmt.Errorf("the host answered %s", response.Status)
	}
	return true, nil
}

// withoutURL returns the error of a request without its URL.
func withoutURL(err error) error {
	if verification, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("the runtime does not trust the host's certificate: %w", verification.Err)
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		return outer.Err
	}
	return err
}

// rootCause returns the innermost error, without the path that wraps it.
func rootCause(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}
