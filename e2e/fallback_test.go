package e2e

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// TestFallbackNever requires that the original registry is not contacted, for all forms of
// image names and all faults of the private registry.
func TestFallbackNever(t *testing.T) {
	id := strings.Repeat("0", 64)
	for _, test := range []struct {
		name          string
		configuration string
		asked         string
		code          codes.Code
		text          []string // the first is the beginning of the error
	}{
		{"absent", privateConfiguration(), "original:1", codes.NotFound,
			[]string{"image-cri-shim: no configured registry has docker.io/library/original:1", "tried: " + shared.private.Address() + " (absent)"}},
		{"absent digest", privateConfiguration(), "original@sha256:" + id, codes.NotFound, []string{"image-cri-shim: no configured registry has ", "(absent)"}},
		{"wrong password", strings.ReplaceAll(privateConfiguration(), privatePassword, wrongPassword), "nginx:1.25", codes.Unknown,
			[]string{"RegistryUnavailable: ", shared.private.Address() + " (could not ask: answered 401"}},
		{"down", "address: http://127.0.0.1:1\n", "nginx:1.25", codes.Unknown,
			[]string{"RegistryUnavailable: ", "http://127.0.0.1:1 (could not ask: ", "connection refused"}},
		{"no registry", "", "nginx:1.25", codes.NotFound, []string{"image-cri-shim: no registry is configured for docker.io/library/nginx:1.25"}},
		{"ID", privateConfiguration(), "sha256:" + id, codes.InvalidArgument, []string{"image-cri-shim: ", "(fallback: never): an image ID"}},
		{"bare ID", privateConfiguration(), id, codes.InvalidArgument, []string{"image-cri-shim: ", "(fallback: never): an image ID"}},
		{"malformed", privateConfiguration(), "Not//A name", codes.InvalidArgument, []string{"image-cri-shim: ", "(fallback: never): ", "is not an image reference"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			onEachRuntime(t, func(t *testing.T, runtime runtime) {
				n := newNode(t, runtime, test.configuration+"fallback: never\n")
				request := &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: test.asked}, Auth: callerLogin}
				_, err := runtimeapi.NewImageServiceClient(n.through.Connection).PullImage(testContext(t), request)
				if status.Code(err) != test.code {
					t.Errorf("got %v, want the code %v", err, test.code)
				}
				text := status.Convert(err).Message()
				if !strings.HasPrefix(text, test.text[0]) {
					t.Errorf("got %q, want it to begin with %q", text, test.text[0])
				}
				for _, part := range test.text {
					if !strings.Contains(text, part) {
						t.Errorf("got %q, want it to contain %q", text, part)
					}
				}
				wantNotAsked(t)
				for _, image := range n.list(t, n.through) {
					if !slices.Contains(image.RepoTags, sandboxImage) {
						t.Errorf("got status %v, want no image", image)
					}
				}
			})
		})
	}
}

func wantNotAsked(t *testing.T) {
	t.Helper()
	if requests := shared.upstream.Requests(); len(requests) > 0 {
		t.Errorf("docker.io received a request: %s %s and %d more", requests[0].Method, requests[0].Path, len(requests)-1)
	}
}

// TestFallbackNeverServesWhatTheRegistryHas requires that images of the private registry
// are served, and that v1alpha2, which has the same messages, has no fallback either.
func TestFallbackNeverServesWhatTheRegistryHas(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration()+"fallback: never\n")
		if got, want := n.pull(t, n.through, "nginx:1.25", callerLogin), shared.id(t, shared.private, "library/nginx:1.25"); got != want {
			t.Errorf("pulled image %s, want %s", got, want)
		}
		wantNotAsked(t)
		request := &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: "original:1"}, Auth: callerLogin}
		err := n.through.Connection.Invoke(testContext(t), "/runtime.v1alpha2.ImageService/PullImage", request, &runtimeapi.PullImageResponse{})
		if status.Code(err) != codes.NotFound {
			t.Errorf("v1alpha2: got %v, want NotFound", err)
		}
		wantNotAsked(t)
	})
}

func TestFallbackPerMatch(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration()+"registries:\n- address: "+shared.private.Address()+"/strict\n  auth: "+
			privateUser+":"+privatePassword+"\n  match: [docker.io/library/original, docker.io/library/sha256]\n  tags: no-*\n  fallback: never\n")
		_, err := n.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: "original:1"}, callerLogin, nil)
		if err == nil || !strings.Contains(err.Error(), "fallback: never") {
			t.Errorf("matching image: got %v", err)
		}
		// containerd takes an ID for a name on docker.io.
		id := "sha256:" + strings.Repeat("0", 64)
		if _, err := n.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: id}, callerLogin, nil); status.Code(err) != codes.InvalidArgument {
			t.Errorf("ID: got %v", err)
		}
		wantNotAsked(t)
		if _, err := n.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: "nowhere:1"}, callerLogin, nil); err == nil {
			t.Error("pulled an image that no registry has")
		}
		if !slices.ContainsFunc(shared.upstream.Requests(), func(r testbed.Request) bool { return strings.Contains(r.Path, "library/nowhere") }) {
			t.Error("docker.io received no request for an image that does not match")
		}
	})
}
