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

// failure is the error of a lookup that could not be answered.
type failure struct {
	reason   Reason
	text     string
	rejected bool  // the credentials were rejected
	cause    error // must not hold a request or a response

	retryAfter time.Duration // delay requested by the registry; 0 if none
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.cause }

var (
	errClosed = &failure{reason: ReasonClosed, text: "registries are closed"}
	errBusy   = &failure{reason: ReasonBusy, text: fmt.Sprintf("%d lookups are already running or waiting", lookupLimit)}
)

// explain converts the error of a lookup to a failure with a text for users.
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
		text += ": credentials required, none configured"
	case status.StatusCode == http.StatusUnauthorized:
		text += ": configured credentials rejected"
		if status.Request != nil && strings.Contains(status.Request.URL.Path, "/manifests/") {
			text += " for this image"
		}
	case status.StatusCode == http.StatusNotFound:
		text += ": no OCI registry at this address"
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
		return ReasonTLS, fmt.Sprintf("certificate verification failed, check ca: %v", untrusted.Err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](cause); ok {
		return ReasonTLS, "server does not speak TLS: write http:// in address"
	}
	return ReasonConnection, cause.Error()
}

// newFailure returns a failure with a redacted text. The text may come from the registry.
// If it contains a secret, the text and the cause are dropped.
func (c *client) newFailure(reason Reason, text string, cause error) *failure {
	if containsSecret(text, c.credentials) {
		text, cause = "failed; the error is hidden because it contains the password", nil
	}
	return &failure{reason: reason, text: printable.Line(redact(text), textLimit), cause: cause}
}

// containsSecret reports whether a text contains the password or a token, verbatim or in
// an encoding that HTTP or Go errors use.
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

// isOfTokenServer reports whether a response comes from a token server. A token server may
// also reject a login with status 400.
func isOfTokenServer(status *transport.Error) bool {
	return status.Request != nil && status.Request.URL.Path != root && !strings.Contains(status.Request.URL.Path, "/manifests/")
}

func isOverloaded(status int) bool {
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests
}

// Parts of a URL that may contain a secret.
var (
	userInformation = regexp.MustCompile(`//[^/\s"@]*@`)
	urlQuery        = regexp.MustCompile(`\?[^\s"]*`)
)

// authorization matches the value of an Authorization header, which a registry may echo.
var authorization = regexp.MustCompile(`(?i)\b(basic|bearer) [\w.~+/=-]{16,}`)

// redact removes parts that may contain secrets. It keeps only the first line, because
// go-containerregistry appends the token server's response on further lines.
func redact(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	text = authorization.ReplaceAllString(text, "...")
	return urlQuery.ReplaceAllString(userInformation.ReplaceAllString(text, "//"), "?...")
}
