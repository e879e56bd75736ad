package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// push pushes the index and its images, with the credentials of Docker's configuration.
func push(ctx context.Context, target reference.NamedTagged, index v1.ImageIndex, plainHTTP bool) error {
	var options []name.Option
	if plainHTTP {
		options = append(options, name.Insecure)
	}
	tag, err := name.NewTag(target.String(), options...)
	if err != nil {
		return fmt.Errorf("push to %s: %w", target, err)
	}
	var client http.RoundTripper = encrypted{remote.DefaultTransport}
	if plainHTTP {
		client = remote.DefaultTransport
	}
	err = remote.WriteIndex(tag, index,
		remote.WithContext(ctx),
		remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithTransport(client),
	)
	var refused *transport.Error
	if errors.As(err, &refused) && (refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden) {
		return fmt.Errorf("push to %s: the registry refuses the credentials for %s; run `docker login %[2]s`: %w", target, tag.RegistryStr(), err)
	}
	if err != nil {
		return fmt.Errorf("push to %s: %w", target, err)
	}
	return nil
}

// encrypted is a transport that refuses plain HTTP except on loopback. Without it, the client
// falls back to plain HTTP for private addresses, and sends the credentials in the clear.
type encrypted struct{ http.RoundTripper }

func (e encrypted) RoundTrip(request *http.Request) (*http.Response, error) {
	host := request.URL.Hostname()
	if request.URL.Scheme == "http" && host != "localhost" && !net.ParseIP(host).IsLoopback() {
		return nil, fmt.Errorf("no plain HTTP to %s, because it is not on loopback; PLAIN_HTTP=1 permits it", request.URL.Host)
	}
	return e.RoundTripper.RoundTrip(request)
}
