package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// TestRuntimeFailsToAnswer uses a runtime that fails to report whether it has an image. No
// client may take this for a missing image, and no name may be lost.
func TestRuntimeFailsToAnswer(t *testing.T) {
	const asked = "nginx:1.25"
	failure := status.Error(codes.Internal, "the store is broken")
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n, failing := newFailingNode(t, runtime)
		id := n.pull(t, n.through, asked, nil)
		stored := shared.private.Host() + "/library/" + asked

		failing.Fail(failure, id, stored)
		n.wantErrors(t, asked, failure, "ImageStatus", "RemoveImage", "CreateContainer")
		failing.Fail(failure, id) // the stored reference still works
		n.wantStatus(t, asked, id)
		failing.Fail(nil)
		n.wantStatus(t, asked, id)

		// After a pull without the shim, the ledger lacks the name, but the image may be the one asked for.
		n.remove(t, n.through, asked)
		login := &runtimeapi.AuthConfig{Username: privateUser, Password: privatePassword}
		n.pull(t, n.direct, stored, login)
		failing.Fail(failure, stored)
		if image := n.status(t, n.through, asked); image != nil {
			t.Errorf("ImageStatus: got %v, want the runtime's answer for the name itself", image)
		}
		n.wantWarning(t, "ImageStatus", asked)
		n.wantErrors(t, asked, failure, "RemoveImage", "CreateContainer")
		failing.Fail(nil)
		if image := n.status(t, n.through, asked); image.GetId() != id {
			t.Errorf("after the failure: got %v", image)
		}
		n.remove(t, n.through, asked)
		if image := n.status(t, n.direct, id); image != nil {
			t.Errorf("after the removal: got %v", image)
		}
	})
}

// newFailingNode returns a node whose shim uses the runtime through a failing proxy.
func newFailingNode(t *testing.T, runtime runtime) (*node, *testbed.FailingRuntime) {
	t.Helper()
	folder, err := os.MkdirTemp("", "failing-") // not t.TempDir, whose path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	failing, err := testbed.StartFailingRuntime(testContext(t), filepath.Join(folder, "runtime.sock"), runtime.Socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(failing.Stop)
	return newNode(t, failing, privateConfiguration()+namesInLedger), failing
}

// wantErrors requires that calls about a name return the runtime's error unchanged.
func (n *node) wantErrors(t *testing.T, name string, want error, methods ...string) {
	t.Helper()
	image := &runtimeapi.ImageSpec{Image: name}
	images, runtime := runtimeapi.NewImageServiceClient(n.through.Connection), runtimeapi.NewRuntimeServiceClient(n.through.Connection)
	for _, method := range methods {
		var err error
		switch method {
		case "ImageStatus":
			_, err = images.ImageStatus(testContext(t), &runtimeapi.ImageStatusRequest{Image: image})
		case "RemoveImage":
			_, err = images.RemoveImage(testContext(t), &runtimeapi.RemoveImageRequest{Image: image})
		case "CreateContainer":
			_, err = runtime.CreateContainer(testContext(t), &runtimeapi.CreateContainerRequest{Config: &runtimeapi.ContainerConfig{Image: image}})
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", method, err, want)
		}
		n.wantWarning(t, method, name)
	}
}

// wantWarning requires that the latest log line of a method about a name is a warning with the
// runtime's error.
func (n *node) wantWarning(t *testing.T, method, name string) {
	t.Helper()
	decision, err := n.shim.Decision(testContext(t), method, name)
	if err != nil {
		t.Fatal(err)
	}
	if decision.Level != "warning" || !strings.Contains(decision.Reason, "Internal: the store is broken") {
		t.Errorf("%s of %s: logged %+v, want a warning with the runtime's error", method, name, decision)
	}
}
