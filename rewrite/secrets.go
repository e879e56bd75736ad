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

// forwardPull sends a PullImage to the runtime. A registry may send back the login
// that it got, and runtimes repeat what registries say: the error, which is logged
// and becomes an event of the pod, is without it.
func (c call) forwardPull(ctx context.Context, encoded []byte) ([]byte, error) {
	response, err := c.forward(ctx, encoded)
	request := &runtime.PullImageRequest{}
	if err == nil || proto.Unmarshal(encoded, request) != nil {
		return response, err
	}
	return nil, withoutSecrets(err, request.Auth)
}

// withoutSecrets hides what is secret in the text of an error of a pull with auth.
// Its code and the rest of its text stay.
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
	shortestSecret = 4 // bytes; what is shorter is in every text
)

// authorization is a header's value or a JSON Web Token: of access tokens only the
// runtime knows which they are.
var authorization = regexp.MustCompile(`(?i:\b(basic|bearer) [\w.~+/=-]{16,})|\beyJ[\w-]{8,}\.[\w.-]+`)

// secretForms are the texts that give away a login: each secret as it is, and as
// HTTP and Go's errors write it.
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
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) }) // one may be in another
	return forms
}
