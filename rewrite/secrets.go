package rewrite

import (
	"context"
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// forwardPull sends a PullImage to the runtime, and masks the credentials of the request in the
// error. A registry may return the credentials in an error, which the runtime passes on. The
// error is logged and becomes an event of the pod.
func (c call) forwardPull(ctx context.Context, encoded []byte) ([]byte, error) {
	response, err := c.forward(ctx, encoded)
	request := &runtime.PullImageRequest{}
	if err == nil || proto.Unmarshal(encoded, request) != nil {
		return response, err
	}
	return nil, withoutSecrets(err, request.Auth)
}

// withoutSecrets masks credentials in the text of an error of a pull with auth. The code and
// the rest of the text stay.
func withoutSecrets(err error, auth *runtime.AuthConfig) error {
	failure, ok := status.FromError(err)
	if !ok {
		return err
	}
	text := failure.Message()
	for _, form := range secretForms(auth) {
		text = strings.ReplaceAll(text, form, mask)
	}
	text = authorization.ReplaceAllString(text, mask)
	if text == failure.Message() {
		return err
	}
	hidden := failure.Proto()
	hidden.Message = text
	return status.FromProto(hidden).Err()
}

const (
	mask           = "********"
	shortestSecret = 4 // bytes; shorter strings occur in most texts
)

// authorization matches the value of an Authorization header and JSON Web Tokens. The runtime
// obtains access tokens itself, so the shim can recognize them only by their form.
var authorization = regexp.MustCompile(`(?i:\b(basic|bearer) [\w.~+/=-]{16,})|\beyJ[\w-]{8,}\.[\w.-]+`)

// secretForms returns the strings to mask for auth: each secret verbatim, and in the encodings
// of HTTP and of Go's errors. Longer strings come first.
func secretForms(auth *runtime.AuthConfig) []string {
	username, password := auth.GetUsername(), auth.GetPassword()
	if decoded, err := base64.StdEncoding.DecodeString(auth.GetAuth()); err == nil && password == "" {
		username, password, _ = strings.Cut(string(decoded), ":")
	}
	var forms []string
	for _, secret := range []string{password, auth.GetIdentityToken(), auth.GetRegistryToken(), auth.GetAuth()} {
		if len(secret) < shortestSecret {
			continue
		}
		forms = append(forms, secret, strings.Trim(strconv.Quote(secret), `"`), url.QueryEscape(secret), url.PathEscape(secret),
			base64.StdEncoding.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(username+":"+secret)))
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) }) // a form may contain another
	return forms
}
