package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// route is a host that the runtime pulls the images of a registry from.
type route struct {
	scheme, host       string
	path               string      // of the API, such as /v2
	httpFallback       bool        // http is tried if https fails
	skipVerify         bool        // its certificate is not verified
	caFiles            []string    // files with certificates that are trusted beside the system's
	clientCertificates [][2]string // files with a certificate for the host and its key; the key's is empty where one file has both
	resolvesTags       bool        // tags are resolved there
	hasAuthorization   bool        // a login for it is in the runtime's file
}

func (r route) String() string { return r.scheme + "://" + r.host }

// routeLimit bounds how many routes are asked for a registry.
const routeLimit = 16

// routeResult is the result of probing a route.
type routeResult struct {
	scheme string // that the host answered over
	err    error  // why the runtime can't pull from it
}

// probeRoutes requests each route as the runtime would. login is the host that the
// runtime has a login for. It returns an error if the runtime can't read a file that it
// needs, since it then contacts no host.
func probeRoutes(ctx context.Context, routes []route, login string) ([]routeResult, error) {
	answers := make([]routeResult, len(routes))
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
			answers[i].err = errors.New("is not asked for tags")
		case i >= routeLimit:
			answers[i].err = fmt.Errorf("not asked by the doctor, which asks %d hosts at most", routeLimit)
		default:
			running.Go(func() { answers[i] = r.probe(ctx, configs[i], r.hasAuthorization || r.host == login) })
		}
	}
	running.Wait()
	return answers, nil
}

// tlsConfig reads the files that the runtime uses for the host.
func (r route) tlsConfig() (*tls.Config, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	config := &tls.Config{RootCAs: pool, InsecureSkipVerify: r.skipVerify} // as the runtime does
	for _, file := range r.caFiles {
		content, err := readFile(file)
		if err != nil {
			return nil, fmt.Errorf("the runtime can't read %s: %w", file, rootCause(err))
		}
		if !pool.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("the runtime can't read %s: no certificate in PEM form", file)
		}
	}
	for _, pair := range r.clientCertificates {
		key := pair[1]
		if key == "" {
			key = pair[0]
		}
		certificate, err := tls.LoadX509KeyPair(pair[0], key)
		if err != nil {
			return nil, fmt.Errorf("the runtime can't read %s: %w", pair[0], rootCause(err))
		}
		config.Certificates = append(config.Certificates, certificate)
	}
	return config, nil
}

// probe requests the API's root.
func (r route) probe(ctx context.Context, config *tls.Config, hasLogin bool) routeResult {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, DisableKeepAlives: true}
	client := &http.Client{Transport: transport}
	schemes := []string{r.scheme}
	if r.httpFallback {
		schemes = []string{"https", "http"}
	}
	var first error
	for _, scheme := range schemes {
		err := r.request(ctx, client, scheme, hasLogin)
		if err == nil {
			return routeResult{scheme: scheme}
		}
		if first == nil || errors.Is(first, http.ErrSchemeMismatch) { // it speaks http
			first = err
		}
	}
	return routeResult{err: first}
}

func (r route) request(ctx context.Context, client *http.Client, scheme string, hasLogin bool) error {
	root := url.URL{Scheme: scheme, Host: r.host, Path: r.path + "/"}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, root.String(), nil)
	if err != nil {
		return errors.New("its URL is not valid")
	}
	response, err := client.Do(request)
	if err != nil {
		return withoutURL(err)
	}
	defer func() { _ = response.Body.Close() }()
	challenge := strings.ToLower(response.Header.Get("WWW-Authenticate"))
	switch code := response.StatusCode; {
	case code == http.StatusUnauthorized && !hasLogin && strings.HasPrefix(challenge, "basic"):
		return errors.New("it wants a login, which the runtime has for the registry's own host alone")
	case code == http.StatusBadRequest && scheme == "http":
		return fmt.Errorf("it answers %s to http, as a server does that expects https", response.Status)
	case code == http.StatusBadRequest || code >= http.StatusInternalServerError:
		return fmt.Errorf("it answers %s", response.Status)
	}
	return nil
}

// withoutURL returns the error of a request without its URL.
func withoutURL(err error) error {
	if verification, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("the runtime does not trust its certificate: %w", verification.Err)
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
