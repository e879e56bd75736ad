package rewrite

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/imagename"
)

// The Lookup receives the result of a pull, and the next attempt depends on it.
func TestOutcomes(t *testing.T) {
	const stored = hub + "/library/nginx:1.25"
	unavailable := status.Error(codes.Unavailable, "server is not initialized yet")
	for _, test := range []struct {
		name    string
		timeout time.Duration
		failure error // error of the pull from the hub
		told    []string
		want    codes.Code // result of the client's pull
	}{
		{"success", time.Hour, nil, []string{"pulled " + stored}, codes.OK},
		{"the runtime's error", time.Hour, status.Error(codes.Unknown, "no such blob"), []string{"failed " + stored}, codes.OK},
		{"it gave up soon", time.Hour, status.Error(codes.Canceled, "context canceled"), []string{"failed " + stored}, codes.OK},
		{"the runtime is not there", time.Hour, unavailable, nil, codes.Unavailable},
		{"the runtime says so of the registry", time.Hour, status.Error(codes.Unavailable, "503 Service Unavailable"), []string{"failed " + stored}, codes.OK},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			n.push(stored, "docker.io/library/nginx:1.25")
			p := pull{call: call{Rewriter: n.rewriter, method: "/runtime.v1.ImageService/PullImage", runtime: cri.Client{Version: "runtime.v1"}}}
			p.timeout = test.timeout
			p.request = &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: "nginx:1.25"}}
			p.encoded, _ = proto.Marshal(p.request)
			p.name, _ = imagename.Parse("nginx:1.25")
			p.runtime.Invoke = func(ctx context.Context, method string, request []byte) ([]byte, error) {
				if strings.HasSuffix(method, "/PullImage") && imagename.Host(requested(t, request)) == hub && test.failure != nil {
					if test.failure == unavailable {
						n.runtime.down = unavailable // for all other calls too
					}
					return nil, test.failure
				}
				return n.runtime.invoke(ctx, method, request)
			}
			_, err := p.run(t.Context(), &Decision{})
			if status.Code(err) != test.want || test.want == codes.Unavailable && err.Error() != unavailable.Error() {
				t.Errorf("got %v, want the code %v and the runtime's own text", err, test.want)
			}
			if !slices.Equal(n.outcomes, test.told) {
				t.Errorf("the Lookup received %q, want %q", n.outcomes, test.told)
			}
			if pulls := n.pulls(t); test.want == codes.Unavailable && len(pulls) > 0 {
				t.Errorf("unexpected pulls %q", pulls)
			}
		})
	}
}

// If the caller cancels a pull, this is not counted against the registry.
func TestOutcomeOfACancelledPull(t *testing.T) {
	n := newNode(t)
	n.push(hub + "/library/nginx:1.25")
	ctx, cancel := context.WithCancel(t.Context())
	if err := n.duringPull(ctx, func(ctx context.Context) error {
		cancel()
		return status.FromContextError(ctx.Err()).Err()
	}); status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
	if len(n.outcomes) > 0 {
		t.Errorf("the Lookup received %q", n.outcomes)
	}
}

// A starting runtime refuses all calls, and the shim asks it only once.
func TestPullFromARuntimeThatIsNotReady(t *testing.T) {
	n := newNode(t)
	n.registry.lies = true
	n.runtime.down = status.Error(codes.Unavailable, "server is not initialized yet")
	_, err := n.pull("nginx:1.25", nil)
	if status.Code(err) != codes.Unavailable || status.Convert(err).Message() != "server is not initialized yet" {
		t.Errorf("got %v, want the runtime's own error", err)
	}
	if len(n.outcomes) > 0 {
		t.Errorf("the Lookup received %q", n.outcomes)
	}
	n.runtime.down = nil
	n.push(hub + "/library/nginx:1.25")
	n.mustPull("nginx:1.25")
}

// A runtime that was unavailable only at the start of a pull is not counted against a registry.
func TestPullFromARuntimeThatComesBack(t *testing.T) {
	n := newNode(t)
	n.push(hub + "/library/nginx:1.25")
	encoded, err := proto.Marshal(&runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: "nginx:1.25"}})
	if err != nil {
		t.Fatal(err)
	}
	const method = "/runtime.v1.ImageService/PullImage"
	away := status.Error(codes.Unavailable, "connection refused")
	calls := 0
	_, err = n.rewriter.Unary()[method](t.Context(), encoded, func(ctx context.Context, method string, request []byte) ([]byte, error) {
		if calls++; calls == 1 {
			return nil, away
		}
		return n.runtime.invoke(ctx, method, request)
	})
	if status.Code(err) != codes.Unavailable || err.Error() != away.Error() {
		t.Errorf("got %v, want the error of the unavailable runtime", err)
	}
	if pulls := n.pulls(t); len(pulls) > 0 || len(n.outcomes) > 0 {
		t.Errorf("pulled %q, and the Lookup received %q", pulls, n.outcomes)
	}
}

// A name on a registry's own host is pulled from there once.
func TestPullOfTheRegistrysOwnNameFails(t *testing.T) {
	const own = hub + "/library/nginx:1.25"
	for _, never := range []bool{false, true} {
		n := newNode(t)
		n.registry.lies = true
		l := n.rewriter.lookup.(memoryLookup)
		if never {
			l.never = []string{hub + "/library/nginx"}
		}
		n.rewriter.lookup = l
		_, err := n.pull(own, nil)
		text := status.Convert(err).Message()
		if status.Code(err) != codes.NotFound || !strings.HasPrefix(text, "failed to pull and unpack image") ||
			!strings.Contains(text, "; image-cri-shim tried: http://"+hub+" (pull failed: ") {
			t.Errorf("never %v: got %v", never, err)
		}
		if pulls := n.pulls(t); !slices.Equal(pulls, []string{own}) {
			t.Errorf("never %v: pulled %q", never, pulls)
		}
	}
}

// pulls returns the references in the PullImage requests to the runtime.
func (n *node) pulls(t *testing.T) []string {
	t.Helper()
	var pulls []string
	for _, call := range n.runtime.seen() {
		if reference, ok := strings.CutPrefix(call, "PullImage "); ok {
			pulls = append(pulls, reference)
		}
	}
	return pulls
}

// requested returns the image in an encoded PullImage.
func requested(t *testing.T, encoded []byte) string {
	t.Helper()
	request := &runtime.PullImageRequest{}
	if err := proto.Unmarshal(encoded, request); err != nil {
		t.Fatal(err)
	}
	return request.GetImage().GetImage()
}
