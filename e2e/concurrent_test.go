package e2e

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestStatusDuringPulls requests the status of a running container's image while the image
// is pulled again, as for another replica with imagePullPolicy Always, and after cancelled
// pulls.
func TestStatusDuringPulls(t *testing.T) {
	n := newNode(t, needContainerd(t), privateConfiguration())
	n.pull(t, n.through, "nginx:1.25", nil)
	container, err := n.startPod(t).Run(testContext(t), "web", "nginx:1.25")
	if err != nil {
		t.Fatal(err)
	}
	look := func() {
		response, err := n.through.Runtime.ContainerStatus(testContext(t), container, false)
		if err != nil {
			t.Error(err)
			return
		}
		if shown := response.Status.Image.Image + " " + response.Status.ImageRef; strings.Contains(shown, shared.private.Host()) {
			t.Errorf("the status shows %s", shown)
		}
	}
	pulling := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			look()
			select {
			case <-pulling:
				return
			default:
			}
		}
	})
	for range 5 {
		n.pull(t, n.through, "nginx:1.25", nil)
	}
	close(pulling)
	looking.Wait()
	for limit := time.Millisecond; limit < 20*time.Millisecond; limit += 2 * time.Millisecond {
		ctx, cancel := context.WithTimeout(testContext(t), limit)
		_, _ = runtimeapi.NewImageServiceClient(n.through.Connection).PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: "nginx:1.25"}})
		cancel()
		look()
	}
}

// TestOwnAndMirroredNameAtOnce pulls a name on the registry's own host and a name that the
// registry mirrors at the same time. Both are found afterwards.
func TestOwnAndMirroredNameAtOnce(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration())
		own := shared.private.Host() + "/library/nginx:1.25"
		for range 5 {
			var pulls sync.WaitGroup
			for _, name := range []string{"nginx:1.25", own} {
				pulls.Go(func() {
					if _, err := n.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: name}, nil, nil); err != nil {
						t.Errorf("pull %s: %v", name, err)
					}
				})
			}
			pulls.Wait()
			for _, name := range []string{"nginx:1.25", own} {
				if n.status(t, n.through, name) == nil {
					t.Errorf("status of %s after its pull: not found", name)
				}
			}
			n.removeImages(t)
		}
	})
}
