package doctor

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"

	"image-cri-shim/registry"
)

// manifestLimit bounds the size of a manifest, in bytes, like containerd's limit.
const manifestLimit = 4 << 20

// manifestTypes are the media types of manifests that runtimes request.
var manifestTypes = []string{
	"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
}

// manifestRequest is the request for the manifest of an image at one host of the runtime.
type manifestRequest struct {
	client      *http.Client
	base        url.URL // of the repository
	header      http.Header
	credentials registry.Credentials // that the runtime sends to the host
	repository  string
}

// errNextHost wraps an error after which the runtime tries the next host.
type errNextHost struct {
	error
	status int // of the response; 0 if there was none
}

func (e errNextHost) Unwrap() error { return e.error }

var errNoPlatform = fmt.Errorf("the image has no variant for %s/%s", runtime.GOOS, runtime.GOARCH)

var errNoManifest = errors.New("the host answered 200 OK, but not with an image manifest")

// resolve returns the digest of a tag or digest as containerd determines it, by HEAD, or by
// GET if HEAD is refused or is answered without a digest.
func (m manifestRequest) resolve(ctx context.Context, identifier string) (digest string, err error) {
	for _, method := range []string{http.MethodHead, http.MethodGet} {
		response, body, err := m.send(ctx, method, identifier)
		switch {
		case err != nil:
			return "", err
		case response.StatusCode == http.StatusMethodNotAllowed && method == http.MethodHead:
			continue
		case response.StatusCode != http.StatusOK:
			return "", statusError(response)
		case !isManifest(response):
			return "", errNoManifest
		case strings.Contains(identifier, ":"):
			return identifier, nil
		}
		if digest := response.Header.Get("Docker-Content-Digest"); digest != "" && response.ContentLength >= 0 {
			return digest, nil
		}
		if method == http.MethodGet {
			return digestOf(body), nil
		}
	}
	return "", errNextHost{error: errors.New("the host refuses HEAD and GET")}
}

// get requests a manifest, and returns its digest. It checks the digest and the platforms.
func (m manifestRequest) get(ctx context.Context, identifier string) (digest string, err error) {
	response, body, err := m.send(ctx, http.MethodGet, identifier)
	digest = digestOf(body)
	switch {
	case err != nil:
		return "", err
	case response.StatusCode != http.StatusOK:
		return "", statusError(response)
	case len(body) > manifestLimit:
		return "", fmt.Errorf("the manifest has more than %d bytes", manifestLimit)
	case !isManifest(response):
		return "", errNoManifest
	case strings.HasPrefix(identifier, "sha256:") && identifier != digest:
		return "", errors.New("the manifest does not have the digest of its tag")
	}
	return digest, checkPlatforms(body)
}

// send sends a request, and logs in if the host asks for it and the runtime has credentials
// for it. The body is limited to one byte more than manifestLimit.
func (m manifestRequest) send(ctx context.Context, method, identifier string) (*http.Response, []byte, error) {
	authorization := ""
	for {
		target := m.base
		target.Path += "/manifests/" + identifier
		request, err := http.NewRequestWithContext(ctx, method, target.String(), nil)
		if err != nil {
			return nil, nil, errNextHost{error: errors.New("the URL of the host is not valid")}
		}
		if m.header != nil {
			request.Header = m.header.Clone()
		}
		request.Header.Set("Accept", strings.Join(append(slices.Clone(manifestTypes), "*/*"), ", "))
		if authorization != "" {
			request.Header.Set("Authorization", authorization)
		}
		response, err := m.client.Do(request)
		if err != nil {
			return nil, nil, transportError(err)
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, manifestLimit+1))
		_ = response.Body.Close()
		if err != nil {
			return nil, nil, transportError(err)
		}
		if response.StatusCode != http.StatusUnauthorized || authorization != "" {
			return response, body, nil
		}
		authorization, err = registry.Authorize(ctx, m.client.Transport, response, m.credentials, m.repository)
		if err != nil {
			return nil, nil, errNextHost{error: fmt.Errorf("the login failed: %w", err)}
		}
		if authorization == "" {
			return response, body, nil
		}
	}
}

// transportError returns the error for a request without a complete response. A host that
// was reached before and does not answer in time is not followed by another.
func transportError(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errHangs
	}
	return errNextHost{error: withoutURL(err)}
}

// statusError returns the error for a status other than 200.
func statusError(response *http.Response) error {
	err := fmt.Errorf("the host answered %d %s", response.StatusCode, http.StatusText(response.StatusCode))
	return errNextHost{err, response.StatusCode}
}

func isManifest(response *http.Response) bool {
	mediaType, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	const schema1 = "application/vnd.docker.distribution.manifest.v1+"
	return err == nil && (slices.Contains(manifestTypes, mediaType) || strings.HasPrefix(mediaType, schema1))
}

func digestOf(body []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(body)) }

// checkPlatforms returns an error if a manifest is an index without an image that the
// runtime uses on this machine. A runtime takes a single image of any platform.
func checkPlatforms(manifest []byte) error {
	var index struct {
		Manifests []struct {
			Platform *struct{ OS, Architecture string }
		}
	}
	if err := json.Unmarshal(manifest, &index); err != nil {
		return errors.New("the manifest is not JSON of the expected form")
	}
	compatible := map[string][]string{"amd64": {"386"}, "arm64": {"arm"}}[runtime.GOARCH]
	for _, image := range index.Manifests {
		platform := image.Platform
		if platform == nil || platform.OS == runtime.GOOS && (platform.Architecture == runtime.GOARCH || slices.Contains(compatible, platform.Architecture)) {
			return nil
		}
	}
	if len(index.Manifests) == 0 {
		return nil
	}
	return errNoPlatform
}
