package e2e

import (
	"net/http"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// TestRuntimeKilledDuringAPull requires the runtime's absence as the error, as
// without the shim, and that calls work once it is back.
func TestRuntimeKilledDuringAPull(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		begun := make(chan struct{})
		var once sync.Once
		registry := testbed.StartFaultyRegistry(testbed.OnBlobs(func(response http.ResponseWriter, request *http.Request, next http.Handler) {
			once.Do(func() { close(begun) })
			testbed.Hang(response, request, next)
		}), nil)
		t.Cleanup(registry.Close)
		image, err := testbed.Image("that takes for ever")
		if err != nil {
			t.Fatal(err)
		}
		if err := registry.Push(testContext(t), "library/nginx:1.25", image); err != nil {
			t.Fatal(err)
		}
		n := newNode(t, runtime, privateOnly()+"registries:\n- address: "+registry.Address()+"\n  match: docker.io/library/nginx\n"+"offlinePriority: 100\n")
		images := runtimeapi.NewImageServiceClient(n.through.Connection)
		failed := make(chan error, 1)
		go func() {
			_, err := images.PullImage(testContext(t), &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: "nginx:1.25"}, Auth: callers})
			failed <- err
		}()
		<-begun
		runtime.Kill()
		err = <-failed
		if startErr := runtime.Start(testContext(t)); startErr != nil {
			t.Fatal(startErr)
		}
		if status.Code(err) != codes.Unavailable {
			t.Errorf("got %v, want Unavailable", err)
		}
		want := shared.id(t, shared.private, "library/same:1")
		eventually(t, func() string {
			response, err := images.PullImage(testContext(t), &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: "same:1"}})
			if err != nil || response.ImageRef != want {
				return "after the runtime's return: " + response.String() + " " + status.Convert(err).Message()
			}
			return ""
		})
		if got := n.status(t, n.through, "nginx:1.25"); got != nil {
			t.Errorf("nginx:1.25 is there: %v", got)
		}
	})
}
