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
	tokenTime      = time.Minute // lifetime of a token without expires_in
	tokenTimeMax   = 24 * time.Hour
	tokenBodyLimit = 64 << 10 // size limit of a token server's response, in bytes
)

// challengeOf returns the challenge of a response with status 401; Bearer is preferred to
// Basic. go-containerregistry parses challenges only in responses for the API root, so the
// challenge is replayed to it as such a response.
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

// replay is a transport that answers each request with a challenge.
type replay struct {
	request *http.Request // request of the original response
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

// fetchToken gets a token from the token server that a challenge names.
func (c *client) fetchToken(ctx context.Context, challenge *transport.Challenge, repository string) (login, error) {
	scopes := strings.Fields(challenge.Parameters["scope"])
	if own := "repository:" + repository + ":"; repository != "" && !slices.ContainsFunc(scopes, func(scope string) bool { return strings.HasPrefix(scope, own) }) {
		scopes = append(scopes, own+transport.PullScope)
	}
	server := &tokenServer{next: c.transport, registry: c.registry.RegistryStr()}
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

// trustedHost returns the host that go-containerregistry treats as the registry; it rejects
// a token server at a private address unless it has the same host. The result is the token
// server's own host, since container engines permit private addresses too. For the address
// of a metadata service it is the registry, so that secrets of the node are not sent to the
// registry as a token.
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

// tokenServer is a transport for the requests for one token. It records when the token was
// issued.
type tokenServer struct {
	next     http.RoundTripper
	registry string // host of the registry; any address is allowed for it
	received time.Time
	issued   time.Time // zero if the response has no issued_at

	retryAfter time.Duration // delay requested by the token server; 0 if none
}

// RoundTrip implements [http.RoundTripper].
func (s *tokenServer) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	if request.URL.Host != s.registry {
		ctx = withoutMetadata(ctx)
	}
	request = request.Clone(ctx)
	request.Header.Set("User-Agent", userAgent)
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

// expiry returns the expiry of a token that is valid for the given number of seconds. The
// time counts from issued_at or from the receipt of the token, whichever is earlier, because
// the clocks may differ.
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
