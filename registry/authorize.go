package registry

import (
	"context"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
)

// Authorize answers the challenge of a response with status 401 to a request for a repository.
// It returns the value of the Authorization header for another request, or an empty string if
// the credentials do not suit the challenge. It sends requests only for tokens, over next. The error is redacted and bounded like that of [Answer].Err.
func Authorize(ctx context.Context, next http.RoundTripper, response *http.Response, credentials Credentials, repository string) (string, error) {
	target := response.Request.URL
	registry, err := name.NewRegistry(target.Host)
	if err != nil {
		return "", err
	}
	c := &client{
		registry:    registry,
		scheme:      target.Scheme,
		transport:   pinnedTransport{scheme: target.Scheme, host: target.Host, connections: &connectionCount{}, next: next},
		credentials: credentials,
		server:      &serverState{},
	}
	if deadline, ok := ctx.Deadline(); ok {
		c.timeout = time.Until(deadline).Round(time.Millisecond) // for the text of a timeout
	}
	authorized, err := c.logIn(ctx, response, repository)
	if err != nil {
		return "", c.explain(ctx, err)
	}
	return authorized.authorization, nil
}
