package rewrite

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestErrorsWithoutSecrets(t *testing.T) {
	password := &runtime.AuthConfig{Username: "robot", Password: `p"w/d?`}
	tests := []struct {
		auth       *runtime.AuthConfig
		text, want string
	}{
		{password, "403 Forbidden", "403 Forbidden"},
		{password, `denied: robot:p"w/d?, sorry`, "denied: robot:********, sorry"},
		{password, `denied: "p\"w/d?"`, `denied: "********"`},
		{password, "http://h/p%22w%2Fd%3F/x", "http://h/********/x"},
		{password, "got cm9ib3Q6cCJ3L2Q/", "got ********"},
		{&runtime.AuthConfig{Auth: "cm9ib3Q6aHVudGVyMg=="}, "denied: hunter2, cm9ib3Q6aHVudGVyMg==", "denied: ********, ********"},
		{&runtime.AuthConfig{IdentityToken: "identity"}, "denied: identity", "denied: ********"},
		{&runtime.AuthConfig{RegistryToken: "registry"}, "denied: registry", "denied: ********"},
		{&runtime.AuthConfig{Username: "a", Password: "e"}, "denied", "denied"},
		{nil, "denied: Bearer abcdefghijklmnop.q, sorry", "denied: ********, sorry"},
		{nil, "bad token eyJhbGciOiJub25lIn0.e30.sig", "bad token ********"},
		{nil, "basic authentication failed, no basic auth credentials", "basic authentication failed, no basic auth credentials"},
	}
	for _, test := range tests {
		got := withoutSecrets(status.Error(codes.PermissionDenied, test.text), test.auth)
		if status.Code(got) != codes.PermissionDenied || status.Convert(got).Message() != test.want {
			t.Errorf("%q: got %v, want %q", test.text, got, test.want)
		}
	}
}
