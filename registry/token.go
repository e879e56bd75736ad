package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

const (
	tokenTime      = time.Minute // how long a token counts whose age the token server does not bound
	tokenTimeMax   = 24 * time.Hour
	tokenBodyLimit = 64 << 10 // bytes of a token server's answer
)

// challengeOf returns what a response with the status 401 asks for, a token rather
// than a password. go-containerregistry reads challenges only in answers at the
// API's root, so that it is given this one as if it were such an answer.
func challengeOf(ctx context.Context, registry name.Registry, response *http.Response) (*transport.Challenge, error) {
	values := slices.Clone(response.Header.Values("WWW-Authenticate"))
	isBearer := func(value string) bool { return len(value) >= 6 && strings.EqualFold(value[:6], "bearer") }
	slices.SortStableFunc(values, func(a, b string) int {
		return cmp.Compare(rank(isBearer(a)), rank(isBearer(b)))
	})
	challenge, err := transport.Ping(ctx, registry, replay{response.Request, values})
	if err != nil {
		return nil, err
	}
	challenge.Insecure = response.Request.URL.Scheme == "http"
	return challenge, nil
}

func rank(first bool) int {
	if first {
		return 0
	}
	return 1
}

// replay answers each request with a challenge.
type replay struct {
	request *http.Request // that was answered with it
	values  []string
}

// RoundTrip implements [http.RoundTripper].
func (r replay) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusUnauthorized,
		Header:     http.Header{"Www-Authenticate": r.values},
		Body:       http.NoBody,
		Request:    r.request,
	}, nil
}

// fetchToken logs in at the token server that a challenge names.
func (c *client) fetchToken(ctx context.Context, challenge *transport.Challenge, repository string) (login, error) {
	scopes := strings.Fields(challenge.Parameters["scope"])
	if own := "repository:" + repository + ":"; repository != "" && !slices.ContainsFunc(scopes, func(scope string) bool { return strings.HasPrefix(scope, own) }) {
		scopes = append(scopes, own+transport.PullScope)
	}
	server := &tokenServer{next: c.transport, userAgent: c.userAgent, registry: c.registry.RegistryStr()}
	token, err := transport.Exchange(ctx, c.trustedHost(challenge), c.authenticator(), server, scopes, challenge)
	if err != nil && server.retryAfter > 0 {
		err = retryAfterError{server.retryAfter, err}
	}
	if err != nil {
		return login{}, err
	}
	return login{
		authorization: "Bearer " + cmp.Or(token.AccessToken, token.Token),
		expires:       server.expiry(time.Duration(token.ExpiresIn)),
	}, nil
}

// trustedHost returns the host whose private address a token server may have. That is
// the token server's own, as for container engines, unless cloud providers serve
// secrets there: a registry must not be sent these as if they were a token.
func (c *client) trustedHost(challenge *transport.Challenge) name.Registry {
	realm, err := url.Parse(challenge.Parameters["realm"])
	if err != nil {
		return c.registry
	}
	address := net.ParseIP(realm.Hostname())
	if address == nil || isMetadataService(address) {
		return c.registry
	}
	server, err := name.NewRegistry(realm.Host)
	if err != nil {
		return c.registry
	}
	return server
}

// tokenServer makes the requests for one token, and keeps when it was issued.
type tokenServer struct {
	next      http.RoundTripper
	userAgent string
	registry  string // host, which may be anywhere
	received  time.Time
	issued    time.Time // zero if the token server does not say

	retryAfter time.Duration // the token server asks not to be asked for so long
}

// RoundTrip implements [http.RoundTripper].
func (s *tokenServer) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	if request.URL.Host != s.registry {
		ctx = withoutMetadata(ctx)
	}
	request = request.Clone(ctx)
	request.Header.Set("User-Agent", s.userAgent)
	response, err := s.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	s.retryAfter = retryAfter(response)
	if response.StatusCode != http.StatusOK {
		return response, nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, tokenBodyLimit+1))
	_ = response.Body.Close()
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	var said struct {
		IssuedAt time.Time `json:"issued_at"`
	}
	s.received = time.Now()
	if json.Unmarshal(body, &said) == nil {
		s.issued = said.IssuedAt
	}
	return response, nil
}

// expiry returns when a token expires that counts for some seconds after it was
// issued. It is never later than if it had been issued when it was received: the
// clocks may differ.
func (s *tokenServer) expiry(seconds time.Duration) time.Time {
	lifetime := tokenTime
	if seconds > 0 {
		lifetime = min(seconds, tokenTimeMax/time.Second) * time.Second
	}
	if !s.issued.IsZero() && s.issued.Before(s.received) {
		return s.issued.Add(lifetime)
	}
	return s.received.Add(lifetime)
}
