package e2e

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// node is a runtime without images and a shim in front of it.
type node struct {
	runtime runtime
	shim    *testbed.Shim
	through *testbed.Client // connected to the shim
	direct  *testbed.Client // connected to the runtime
}

// callerLogin is the login that kubelet takes from a pod's pull secret. It has no server
// address.
var callerLogin = &runtimeapi.AuthConfig{Username: upstreamUser, Password: upstreamPassword}

// engineVariable is the environment variable with the engine of the shims, if it is not
// the default.
const engineVariable = "SHIM_ENGINE"

// engine returns the engine's line of a shim's configuration.
func engine() string {
	if engine := os.Getenv(engineVariable); engine != "" {
		return "engine: " + engine + "\n"
	}
	return ""
}

// privateConfiguration is the configuration of most tests, with the private registry only.
func privateConfiguration() string {
	return fmt.Sprintf("address: %s\nauth: %q\ndebug: true\n", shared.private.Address(), privateUser+":"+privatePassword)
}

// namesInLedger makes the shim keep names itself, even if containerd could keep them.
const namesInLedger = "names: ledger\n"

// newNode starts a shim with a configuration. At the end of the test it stops the shim,
// searches its log for passwords and data races, and removes all images.
func newNode(t *testing.T, runtime runtime, configuration string) *node {
	t.Helper()
	return newNodeWith(t, runtime, testbed.ShimOptions{Configuration: configuration})
}

// newNodeWith is newNode for a shim with other options.
func newNodeWith(t *testing.T, runtime runtime, options testbed.ShimOptions) *node {
	t.Helper()
	// t.TempDir contains the test's name, which can make a socket's path too long.
	folder, err := os.MkdirTemp("", "shim-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	options.Binary = cmp.Or(options.Binary, shared.shim)
	options.Folder, options.Runtime = folder, runtime.Socket()
	options.Configuration += engine()
	shim, err := testbed.StartShim(testContext(t), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(shim.CloseSocket)
	n := &node{runtime: runtime, shim: shim}
	t.Cleanup(func() { n.checkShim(t) })
	n.through = dial(t, shim.Socket())
	n.direct = dial(t, runtime.Socket())
	n.removeImages(t)
	t.Cleanup(func() { n.removeImages(t) })
	shared.private.ResetRequests()
	shared.upstream.ResetRequests()
	return n
}

// checkShim ends the shim, which must exit cleanly and must not have leaked secrets.
func (n *node) checkShim(t *testing.T) {
	if err := n.shim.Stop(); err != nil {
		t.Errorf("the shim ended with: %v", err)
	}
	traces, err := n.shim.Outputs(testContext(t))
	if err != nil {
		t.Error(err)
	}
	for where, text := range traces {
		wantNoSecret(t, where, text)
	}
	for _, problem := range []string{"DATA RACE", "panic"} {
		if bytes.Contains(traces["log"], []byte(problem)) {
			t.Errorf("the shim's log contains %q", problem)
		}
	}
	if t.Failed() {
		t.Logf("the shim's log:\n%s", traces["log"])
	}
}

// removeImages removes all images from the runtime except the sandbox image.
func (n *node) removeImages(t *testing.T) {
	t.Helper()
	for _, image := range n.list(t, n.direct) {
		if !slices.Contains(image.RepoTags, sandboxImage) {
			n.remove(t, n.direct, image.Id)
		}
	}
}

// testContext returns a context that ends with the test and bounds every wait in it.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, socket string) *testbed.Client {
	t.Helper()
	client, err := testbed.Dial(testContext(t), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

func (n *node) pull(t *testing.T, client *testbed.Client, name string, auth *runtimeapi.AuthConfig) (id string) {
	t.Helper()
	id, err := client.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: name}, auth, nil)
	if err != nil {
		t.Fatalf("pull %s: %v", name, err)
	}
	return id
}

// status returns nil if there is no such image.
func (n *node) status(t *testing.T, client *testbed.Client, name string) *runtimeapi.Image {
	t.Helper()
	response, err := client.Images.ImageStatus(testContext(t), &runtimeapi.ImageSpec{Image: name}, false)
	if err != nil {
		t.Fatalf("status of %s: %v", name, err)
	}
	return response.GetImage()
}

func (n *node) remove(t *testing.T, client *testbed.Client, name string) {
	t.Helper()
	if err := client.Images.RemoveImage(testContext(t), &runtimeapi.ImageSpec{Image: name}); err != nil {
		t.Fatalf("remove %s: %v", name, err)
	}
}

func (n *node) list(t *testing.T, client *testbed.Client) []*runtimeapi.Image {
	t.Helper()
	images, err := client.Images.ListImages(testContext(t), nil)
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	return images
}

// decision returns the shim's log line about a pull.
func (n *node) decision(t *testing.T, asked string) testbed.Decision {
	t.Helper()
	decision, err := n.shim.Decision(testContext(t), "PullImage", asked)
	if err != nil {
		t.Fatal(err)
	}
	return decision
}

// wantStatus requires that a client of the shim sees an image with this ID under a name, and
// none of the private registry's names.
func (n *node) wantStatus(t *testing.T, name, id string) {
	t.Helper()
	image := n.status(t, n.through, name)
	if image.GetId() != id {
		t.Errorf("status of %s: got image %q, want %q", name, image.GetId(), id)
	}
	for _, shown := range slices.Concat(image.GetRepoTags(), image.GetRepoDigests()) {
		if strings.HasPrefix(shown, shared.private.Host()) {
			t.Errorf("status of %s shows the private registry's name %s", name, shown)
		}
	}
}

// sameError reports whether a client sees the same error: the same code and text, to which
// the shim may append more.
func sameError(got, want error) bool {
	gotStatus, wantStatus := status.Convert(got), status.Convert(want)
	return gotStatus.Code() == wantStatus.Code() && strings.HasPrefix(gotStatus.Message(), wantStatus.Message())
}
