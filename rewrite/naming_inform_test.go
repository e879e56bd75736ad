package rewrite

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestNamingInforms checks the messages about changes that are not part of a pull.
func TestNamingInforms(t *testing.T) {
	bubble(t, func(t *testing.T, n *namingNode) {
		wantTold := func(want ...string) {
			t.Helper()
			told := n.told()
			if !slices.EqualFunc(told, want, strings.Contains) {
				t.Errorf("informed of %q, want %q", told, want)
			}
		}
		n.push(stored)
		n.mustPull(asked)
		wantTold("kept in the runtime: containerd's images service answers")
		if n.namer.Repairs() != 0 {
			t.Error("something is to be repaired")
		}

		refuse := func(_ context.Context, _ int, call string, invoke func() ([]byte, error)) ([]byte, error) {
			if strings.HasPrefix(call, "Images.Delete") {
				return nil, status.Error(codes.PermissionDenied, "no")
			}
			return invoke()
		}
		n.set(refuse)
		n.mustPull(asked)
		time.Sleep(10 * time.Second)
		if n.namer.Repairs() != 1 {
			t.Errorf("%d repairs, want one", n.namer.Repairs())
		}
		n.set(nil)
		n.settled()
		if n.namer.Repairs() != 0 {
			t.Errorf("%d repairs, want none", n.namer.Repairs())
		}
		wantTold("repaired the names of images from " + hub + "/library/nginx")
	})
}
