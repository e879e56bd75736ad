package rewrite

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/intercept"
)

// If the runtime fails to answer for an image during a pull, the ledger keeps its records, and
// the failure is not counted against the registry.
func TestUnansweredQuestionsOfAPull(t *testing.T) {
	const original = "docker.io/library/nginx:1.25"
	failure := status.Error(codes.Internal, "injected")
	pull := func(n *node, invoke intercept.Invoke) (warnings []string) {
		n.rewriter.warn = func(err error) { warnings = append(warnings, err.Error()) }
		encoded, err := proto.Marshal(&runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: askedName}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.rewriter.Unary()["/runtime.v1.ImageService/PullImage"](t.Context(), encoded, invoke); err != nil {
			t.Fatal(err)
		}
		return warnings
	}
	t.Run("the stored reference before the pull", func(t *testing.T) {
		n := newNode(t)
		n.push(storedName, original)
		warnings := pull(n, n.runtime.failing(failure, storedName))
		if pulls := n.pulls(t); !slices.Equal(pulls, []string{askedName}) || len(n.outcomes) > 0 {
			t.Errorf("pulled %q, and the Lookup received %q", pulls, n.outcomes)
		}
		if d := n.decisions[0]; len(warnings) > 0 || !strings.Contains(d.Reason, "injected") {
			t.Errorf("warnings %q, decision %+v", warnings, d)
		}
	})
	t.Run("the stored reference after a failed pull", func(t *testing.T) {
		n := newNode(t)
		n.registry.lies = true
		n.push(original)
		pulled := false
		warnings := pull(n, func(ctx context.Context, method string, request []byte) ([]byte, error) {
			if strings.HasSuffix(method, "/PullImage") {
				pulled = true
			} else if pulled {
				return n.runtime.failing(failure, storedName)(ctx, method, request)
			}
			return n.runtime.invoke(ctx, method, request)
		})
		if len(warnings) != 1 || !strings.Contains(warnings[0], storedName) {
			t.Errorf("warnings %q, want one of %s", warnings, storedName)
		}
	})
	t.Run("the name after a pull from a registry", func(t *testing.T) {
		n := newNode(t)
		n.push(storedName)
		if warnings := pull(n, n.runtime.failing(failure, original)); len(warnings) != 1 || !strings.Contains(warnings[0], original) {
			t.Errorf("warnings %q, want one of %s", warnings, original)
		}
	})
	t.Run("the name after a pull of itself", func(t *testing.T) {
		n := newNode(t)
		pulledFromHub(n)
		n.registry.down = true
		n.push(original)
		entry, _ := n.ledger.Lookup(original)
		warnings := pull(n, n.runtime.failing(failure, original))
		if after, ok := n.ledger.Lookup(original); !ok || after != entry {
			t.Errorf("the ledger has lost %+v", entry)
		}
		if len(warnings) != 1 || !strings.Contains(warnings[0], original) {
			t.Errorf("warnings %q, want one of %s", warnings, original)
		}
		if image := n.status(askedName); image.GetId() != n.runtime.remote[original].id {
			t.Errorf("then found %s, want the image that was pulled last", names(image))
		}
	})
}
