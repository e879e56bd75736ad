package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// acceptedTypes are the media types of manifests that runtimes pull as an image. Some
// registries answer 404 if the manifest's type is not accepted.
var acceptedTypes = strings.Join([]string{
	string(types.DockerManifestSchema2), string(types.DockerManifestList),
	string(types.OCIManifestSchema1), string(types.OCIImageIndex),
	string(types.DockerManifestSchema1Signed), string(types.DockerManifestSchema1), "*/*",
}, ", ")

// description is the digest and the media type of a manifest.
type description struct{ digest, mediaType string }

// session is one lookup of a client.
type session struct {
	*client
	ownLogin string // authorization header of the login made in this session; empty: none
}

func (c *client) newSession() *session { return &session{client: c} }

// describe returns the digest and the media type of a manifest. It sends HEAD, and then
// GET if the registry refuses HEAD or its response does not describe the manifest.
func (s *session) describe(ctx context.Context, candidate reference.Named) (description, error) {
	if s.server.prefersGet() {
		return s.get(ctx, candidate)
	}
	found, err := s.head(ctx, candidate)
	if err == nil || !wantsGet(err) {
		return found, err
	}
	found, err = s.get(ctx, candidate)
	if err == nil && isManifest(found.mediaType) || isNotFound(err) {
		s.server.recordHeadRefused()
	}
	return found, err
}

// errNotDescribed is the error of a HEAD response that does not describe the manifest.
var errNotDescribed = errors.New("HEAD response does not describe the manifest")

// wantsGet reports whether GET may succeed after HEAD failed with err: HEAD was refused,
// or its response has no headers that describe the manifest. Gateways refuse HEAD with any
// of these statuses.
func wantsGet(err error) bool {
	status, ok := statusOf(err)
	if !ok {
		return errors.Is(err, errNotDescribed)
	}
	switch status.StatusCode {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}

func (s *session) head(ctx context.Context, candidate reference.Named) (description, error) {
	response, err := s.fetch(ctx, http.MethodHead, candidate)
	if err != nil {
		return description{}, err
	}
	defer discard(response)
	found := described(response)
	if _, err := v1.NewHash(found.digest); err != nil || found.mediaType == "" {
		return description{}, errNotDescribed
	}
	return found, matches(candidate, found.digest)
}

func (s *session) get(ctx context.Context, candidate reference.Named) (description, error) {
	response, err := s.fetch(ctx, http.MethodGet, candidate)
	if err != nil {
		return description{}, err
	}
	defer discard(response)
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return description{}, err
	}
	found := described(response)
	// The digest of a signed schema 1 manifest is not that of its bytes.
	if _, err := v1.NewHash(found.digest); err != nil || found.mediaType != string(types.DockerManifestSchema1Signed) {
		if digested, ok := candidate.(reference.Digested); ok {
			found.digest = digested.Digest().Algorithm().FromBytes(body).String()
		} else if hash, _, err := v1.SHA256(bytes.NewReader(body)); err == nil {
			found.digest = hash.String()
		}
	}
	return found, matches(candidate, found.digest)
}

func described(response *http.Response) description {
	return description{digest: response.Header.Get("Docker-Content-Digest"), mediaType: response.Header.Get("Content-Type")}
}

// matches returns an error if the candidate has a digest other than the given one.
func matches(candidate reference.Named, digest string) error {
	if digested, ok := candidate.(reference.Digested); ok && digested.Digest().String() != digest {
		return fmt.Errorf("manifest digest %s does not match requested digest %s", digest, digested.Digest())
	}
	return nil
}

// fetch requests a manifest. If the status is not 200, the error wraps a
// [transport.Error].
func (s *session) fetch(ctx context.Context, method string, candidate reference.Named) (*http.Response, error) {
	identifier, err := identify(candidate)
	if err != nil {
		return nil, err
	}
	repository := s.registry.Repo(reference.Path(candidate)).RepositoryStr()
	response, err := s.request(ctx, method, root+repository+"/manifests/"+identifier, repository)
	if err != nil {
		return nil, err
	}
	if response.Header.Get("Docker-Distribution-Api-Version") != "" && s.isOwn(response) {
		s.server.isRegistry.Store(true)
	}
	if err := checkStatus(response); err != nil {
		discard(response)
		if after := retryAfter(response); after > 0 {
			err = retryAfterError{after, err}
		}
		return nil, err
	}
	return response, nil
}

func identify(candidate reference.Named) (string, error) {
	switch candidate := candidate.(type) {
	case reference.Digested:
		return candidate.Digest().String(), nil
	case reference.Tagged:
		return candidate.Tag(), nil
	default:
		return "", errors.New("lookup needs a tag or a digest")
	}
}

// checkStatus returns an error if the status of a response is not 200.
func checkStatus(response *http.Response) error {
	return transport.CheckError(response, http.StatusOK)
}

// statusOf returns the HTTP error response that err wraps, if any.
func statusOf(err error) (*transport.Error, bool) {
	return errors.AsType[*transport.Error](err)
}

// isManifest reports whether a content type is that of a manifest that runtimes pull as an
// image. The check is needed because a web server may answer any path with status 200.
func isManifest(contentType string) bool {
	text, _, err := mime.ParseMediaType(contentType)
	mediaType := types.MediaType(text)
	return err == nil && (mediaType.IsImage() || mediaType.IsIndex() || mediaType.IsSchema1())
}
