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

// TestRuntimeFailsToAnswer has a runtime that fails to say whether it has an image:
// no client takes that for the image's absence, and nothing is lost by it.
func TestRuntimeFailsToAnswer(t *testing.T) {
	const asked = "nginx:1.25"
	failure := status.Error(codes.Internal, "the store is broken")
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n, failing := newFailingNode(t, runtime)
		id := n.pull(t, n.through, asked, nil)
		stored := shared.private.Host() + "/library/" + asked

		failing.Fail(failure, id, stored)
		n.wantErrors(t, asked, failure, "ImageStatus", "RemoveImage", "CreateContainer")
		failing.Fail(failure, id) // the reference that it was pulled by is known
		n.wantStatus(t, asked, id)
		failing.Fail(nil)
		n.wantStatus(t, asked, id)

		// Pulled past the shim, it may be the image of the name, which the ledger lacks.
		n.remove(t, n.through, asked)
		login := &runtimeapi.AuthConfig{Username: privateUser, Password: privatePassword}
		n.pull(t, n.direct, stored, login)
		failing.Fail(failure, stored)
		if image := n.status(t, n.through, asked); image != nil {
			t.Errorf("ImageStatus: %v, want the runtime's answer for the name itself", image)
		}
		n.wantWarning(t, "ImageStatus", asked)
		n.wantErrors(t, asked, failure, "RemoveImage", "CreateContainer")
		failing.Fail(nil)
		if image := n.status(t, n.through, asked); image.GetId() != id {
			t.Errorf("once the runtime answers again: %v", image)
		}
		n.remove(t, n.through, asked)
		if image := n.status(t, n.direct, id); image != nil {
			t.Errorf("after the removal: %v", image)
		}
	})
}

// newFailingNode is a node whose shim asks the runtime through one that fails.
func newFailingNode(t *testing.T, runtime runtime) (*node, *testbed.FailingRuntime) {
	t.Helper()
	folder, err := os.MkdirTemp("", "failing-") // a test's name makes a socket's path too long
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

// wantErrors requires the runtime's error, as it is, from calls about a name.
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

// wantWarning requires that the latest line of a method about a name is a warning
// with the runtime's error.
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
