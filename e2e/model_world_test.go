package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// modelSandbox is the image that containerd pulls for each pod.
const modelSandbox = "sandbox.invalid/pause:3.9"

// world is a containerd and its two clients: the one of the test, which may use a shim,
// and a second actor on the runtime's own socket.
type world struct {
	runtime runtime
	store   *testbed.ImageStore
	direct  *testbed.Client
	client  *grpc.ClientConn // of the test
	pod     *testbed.Pod     // nil before the first container, and after a restart
	pods    int
	folder  string
}

// originals are the registries' names that lead to the original registry.
var originals = []string{"docker.io", "registry.k8s.io", "k8s.gcr.io", "quay.io"}

// newWorld starts a containerd for which one registry is all of the originals.
func newWorld(t *testing.T, original, private *testbed.FaultyRegistry) *world {
	t.Helper()
	// Not t.TempDir: with a test's name a socket's path may become too long.
	folder := shortTempDir(t)
	options := testbed.RuntimeOptions{Folder: filepath.Join(folder, "containerd"), SandboxImage: modelSandbox, Hosts: map[string]testbed.Host{
		"sandbox.invalid": {Address: private.Address()},
		hostOf(private):   {Address: private.Address()},
	}}
	for _, host := range originals {
		options.Hosts[host] = testbed.Host{Address: original.Address()}
	}
	containerd, err := testbed.StartContainerd(testContext(t), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(containerd.Stop)
	w := &world{runtime: containerd, direct: dial(t, containerd.Socket()), folder: folder}
	w.client = w.direct.Connection
	if w.store, err = testbed.OpenImageStore(containerd.Socket()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	return w
}

func hostOf(registry *testbed.FaultyRegistry) string {
	return strings.TrimPrefix(registry.Address(), "http://")
}

func (w *world) images() runtimeapi.ImageServiceClient {
	return runtimeapi.NewImageServiceClient(w.client)
}

func (w *world) containers() runtimeapi.RuntimeServiceClient {
	return runtimeapi.NewRuntimeServiceClient(w.client)
}

// pull pulls an image without the shim.
func (w *world) pull(ctx context.Context, name string) error {
	_, err := runtimeapi.NewImageServiceClient(w.direct.Connection).PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: name}})
	return err
}

// create creates a container in the world's pod, which it starts when there is none.
func (w *world) create(ctx context.Context, name, image, userSpecified string) (id string, err error) {
	if w.pod == nil {
		w.pods++
		if w.pod, err = testbed.RunPod(ctx, w.direct, "model-"+string(rune('a'+w.pods%26)), filepath.Join(w.folder, "logs")); err != nil {
			return "", err
		}
	}
	request := w.pod.CreateRequest(name, image, "run")
	request.Config.Image.UserSpecifiedImage = userSpecified
	response, err := w.containers().CreateContainer(ctx, request)
	return response.GetContainerId(), err
}

// restart kills the containerd and starts it again. Its pods have ended then.
func (w *world) restart(ctx context.Context) error {
	w.runtime.Kill()
	w.pod = nil
	err := w.runtime.Start(ctx)
	w.store.Reconnect()
	w.direct.Connection.ResetConnectBackoff()
	if err != nil {
		return err
	}
	_, err = runtimeapi.NewRuntimeServiceClient(w.direct.Connection).Version(ctx, &runtimeapi.VersionRequest{}, grpc.WaitForReady(true))
	return err
}
