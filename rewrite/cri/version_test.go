package cri

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestEitherVersion calls runtimes that each serve one version of the CRI.
func TestEitherVersion(t *testing.T) {
	known := "runtime.v1alpha2"
	var asked []string
	invoke := EitherVersion(func(_ context.Context, method string, _ []byte) ([]byte, error) {
		asked = append(asked, method)
		if !strings.HasPrefix(method, "/"+known+".") || strings.HasSuffix(method, "/Unknown") {
			return nil, status.Error(codes.Unimplemented, "unknown service")
		}
		return []byte(method), nil
	})
	for _, step := range []struct {
		known, method, want string
		calls               int
	}{
		{"runtime.v1alpha2", "/runtime.v1.ImageService/ImageStatus", "/runtime.v1alpha2.ImageService/ImageStatus", 2},
		{"runtime.v1alpha2", "/runtime.v1.ImageService/ImageStatus", "/runtime.v1alpha2.ImageService/ImageStatus", 1},
		{"runtime.v1alpha2", "/runtime.v1.ImageService/Unknown", "", 2},
		{"runtime.v1alpha2", "/runtime.v1.ImageService/ImageStatus", "/runtime.v1alpha2.ImageService/ImageStatus", 1},
		{"runtime.v1", "/runtime.v1.ImageService/ImageStatus", "/runtime.v1.ImageService/ImageStatus", 2},
		{"runtime.v1", "/runtime.v1.ImageService/ImageStatus", "/runtime.v1.ImageService/ImageStatus", 1},
		{"runtime.v1", "/containerd.services.images.v1.Images/Get", "", 1},
	} {
		known, asked = step.known, nil
		got, err := invoke(t.Context(), step.method, nil)
		if string(got) != step.want || (step.want == "") != (status.Code(err) == codes.Unimplemented) || len(asked) != step.calls {
			t.Errorf("%s on a runtime that serves %s: got %q, %v after the calls %q, want %q after %d calls", step.method, step.known, got, err, asked, step.want, step.calls)
		}
	}
}
