package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// fetch reads all bytes of an image from its registry.
func (s *imageService) fetch(ctx context.Context, named reference.Named, auth *runtimeapi.AuthConfig) (*runtimeapi.Image, error) {
	host := reference.Domain(named)
	mapped, isMapped := s.hosts[host]
	if isMapped {
		address, err := url.Parse(mapped.Address)
		if err != nil {
			return nil, err
		}
		host = address.Host
	}
	separator, identifier := ":", "latest"
	if tagged, ok := named.(reference.Tagged); ok {
		identifier = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		separator, identifier = "@", digested.Digest().String()
	}
	source, err := name.ParseReference(host+"/"+reference.Path(named)+separator+identifier, name.Insecure)
	if err != nil {
		return nil, err
	}
	credentials, err := credentialsFor(host, mapped, auth)
	if err != nil {
		return nil, err
	}
	image, err := remote.Image(source, remote.WithContext(ctx), remote.WithAuth(credentials))
	if err != nil {
		return nil, err
	}
	return read(image, named)
}

func read(image v1.Image, named reference.Named) (*runtimeapi.Image, error) {
	id, idError := image.ConfigName()
	digest, digestError := image.Digest()
	layers, layersError := image.Layers()
	if err := errors.Join(idError, digestError, layersError); err != nil {
		return nil, err
	}
	var size uint64
	for _, layer := range layers {
		content, err := layer.Compressed()
		if err != nil {
			return nil, err
		}
		read, err := io.Copy(io.Discard, content)
		if err := errors.Join(err, content.Close()); err != nil {
			return nil, err
		}
		size += uint64(read)
	}
	stored := &runtimeapi.Image{Id: id.String(), Size: size, RepoDigests: []string{named.Name() + "@" + digest.String()}}
	if _, ok := named.(reference.Digested); !ok {
		stored.RepoTags = []string{named.String()}
	}
	return stored, nil
}

// credentialsFor returns the credentials that containerd's ParseAuth would choose:
// credentials for a different server_address are silently ignored.
func credentialsFor(host string, mapped Host, auth *runtimeapi.AuthConfig) (authn.Authenticator, error) {
	if auth == nil {
		if mapped.Username != "" {
			return &authn.Basic{Username: mapped.Username, Password: mapped.Password}, nil
		}
		return authn.Anonymous, nil
	}
	if auth.ServerAddress != "" {
		server, err := url.Parse(auth.ServerAddress)
		if err != nil {
			return nil, fmt.Errorf("parse server address: %w", err)
		}
		if server.Host != host {
			return authn.Anonymous, nil
		}
	}
	return authn.FromConfig(authn.AuthConfig{
		Username: auth.Username, Password: auth.Password, Auth: auth.Auth, IdentityToken: auth.IdentityToken,
	}), nil
}

func pullCode(ctx context.Context, err error) codes.Code {
	var answer *transport.Error
	switch {
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Code()
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		return codes.NotFound
	default:
		return codes.Unknown
	}
}
