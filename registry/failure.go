package registry

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"image-cri-shim/printable"
)

// textLimit bounds the text of a failure, in bytes.
const textLimit = 200

// failure is why a registry could not be asked.
type failure struct {
	reason   Reason
	text     string
	rejected bool  // the credentials were
	cause    error // only ever one that holds no request and no response

	retryAfter time.Duration // the registry asks not to be asked for so long; 0 if it doesn't
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.cause }

var (
	errClosed = &failure{reason: ReasonClosed, text: "the registries have been closed"}
	errBusy   = &failure{reason: ReasonBusy, text: fmt.Sprintf("%d look-ups are waiting for it already", lookupLimit)}
)

// explain says why a look-up failed, in words for people.
func (c *client) explain(ctx context.Context, err error) *failure {
	if status, ok := errors.AsType[*transport.Error](err); ok {
		explained := c.explainStatus(status)
		if later, ok := errors.AsType[retryAfterError](err); ok {
			explained.retryAfter = later.after
		}
		return explained
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return c.newFailure(ReasonAnswer, fmt.Sprintf("answered with more than %d bytes", large.Limit), nil)
	}
	if failed, ok := errors.AsType[noResponseError](err); ok {
		return c.explainNoResponse(failed.cause)
	}
	if ctx.Err() != nil {
		return c.explainNoResponse(ctx.Err())
	}
	if request, ok := errors.AsType[*url.Error](err); ok {
		err = request.Err // without the URL
	}
	return c.newFailure(ReasonAnswer, err.Error(), nil)
}

func (c *client) explainStatus(status *transport.Error) *failure {
	text := fmt.Sprintf("answered %d %s", status.StatusCode, http.StatusText(status.StatusCode))
	switch {
	case status.Request != nil && status.Request.URL.Host != c.registry.RegistryStr():
		text = status.Request.URL.Host + " " + text // its token server, or the target of a redirect
	case status.StatusCode == http.StatusUnauthorized && c.credentials == (Credentials{}):
		text += ": it wants credentials, and none are configured"
	case status.StatusCode == http.StatusUnauthorized:
		text += ": it does not take the configured credentials"
		if status.Request != nil && strings.Contains(status.Request.URL.Path, "/manifests/") {
			text += " for this image"
		}
	case status.StatusCode == http.StatusNotFound:
		text += ": there is no OCI registry at this address"
	}
	if isOverloaded(status.StatusCode) {
		return c.newFailure(ReasonOverloaded, text, nil)
	}
	reason := ReasonAnswer
	if status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden {
		reason = ReasonRejected
	}
	explained := c.newFailure(reason, text, nil)
	explained.rejected = status.StatusCode == http.StatusUnauthorized || isOfTokenServer(status) &&
		(status.StatusCode == http.StatusBadRequest || status.StatusCode == http.StatusForbidden)
	return explained
}

func (c *client) explainNoResponse(cause error) *failure {
	reason, text := c.describeNoResponse(cause)
	return c.newFailure(reason, text, cause)
}

func (c *client) describeNoResponse(cause error) (Reason, string) {
	if _, ok := errors.AsType[*net.DNSError](cause); ok {
		return ReasonName, cause.Error()
	}
	if timeout, ok := errors.AsType[net.Error](cause); ok && timeout.Timeout() {
		return ReasonTimeout, fmt.Sprintf("no answer within %v", c.timeout)
	}
	if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](cause); ok {
		return ReasonTLS, fmt.Sprintf("its certificate is not trusted, set its CA: %v", untrusted.Err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](cause); ok {
		return ReasonTLS, "it does not speak TLS: write http:// in its address"
	}
	return ReasonConnection, cause.Error()
}

// newFailure returns a failure with a text that may come from the registry, redacted. A
// registry may send back the password: the text and the cause are dropped then.
func (c *client) newFailure(reason Reason, text string, cause error) *failure {
	if containsSecret(text, c.credentials) {
		text, cause = "failed, and its error can't be shown because it holds the password", nil
	}
	return &failure{reason: reason, text: printable.Line(redact(text), textLimit), cause: cause}
}

// containsSecret reports whether a text contains a password or a token, in any of the
// forms that HTTP and Go's errors give it.
func containsSecret(text string, credentials Credentials) bool {
	return slices.ContainsFunc([]string{credentials.Password, credentials.IdentityToken, credentials.RegistryToken}, func(secret string) bool {
		return secret != "" && slices.ContainsFunc([]string{
			secret,
			strings.Trim(strconv.Quote(secret), `"`),
			url.QueryEscape(secret),
			url.PathEscape(secret),
			base64.StdEncoding.EncodeToString([]byte(secret)),
			base64.StdEncoding.EncodeToString([]byte(credentials.Username + ":" + secret)),
		}, func(form string) bool { return strings.Contains(text, form) })
	})
}

// isNotFound reports whether an error is a 404 for a manifest.
func isNotFound(err error) bool {
	status, ok := errors.AsType[*transport.Error](err)
	return ok && status.StatusCode == http.StatusNotFound &&
		status.Request != nil && strings.Contains(status.Request.URL.Path, "/manifests/")
}

// isOfTokenServer reports whether an answer is a token server's, which refuses a
// login with the status 400 too.
func isOfTokenServer(status *transport.Error) bool {
	return status.Request != nil && status.Request.URL.Path != root && !strings.Contains(status.Request.URL.Path, "/manifests/")
}

func isOverloaded(status int) bool {
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests
}

// What may hold a secret in a URL.
var (
	userInformation = regexp.MustCompile(`//[^/\s"@]*@`)
	urlQuery        = regexp.MustCompile(`\?[^\s"]*`)
)

// authorization is a header's value, which a registry may have sent back.
var authorization = regexp.MustCompile(`(?i)\b(basic|bearer) [\w.~+/=-]{16,}`)

// redact keeps the first line of an error of go-containerregistry, which shows
// a token server's answer on further lines.
func redact(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	text = authorization.ReplaceAllString(text, "...")
	return urlQuery.ReplaceAllString(userInformation.ReplaceAllString(text, "//"), "?...")
}
