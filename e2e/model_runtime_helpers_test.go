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

// modelRuntime is a containerd and its two clients: the test's client, which may use a shim,
// and a second client on the runtime's own socket.
type modelRuntime struct {
	runtime runtime
	store   *testbed.ImageStore
	direct  *testbed.Client
	client  *grpc.ClientConn // the test's client
	pod     *testbed.Pod     // nil before the first container and after a restart
	pods    int
	folder  string
}

// originals are the hosts in image names that containerd maps to the original registry.
var originals = []string{"docker.io", "registry.k8s.io", "k8s.gcr.io", "quay.io"}

// newModelRuntime starts a containerd that uses one registry in place of all originals.
func newModelRuntime(t *testing.T, original, private *testbed.FaultyRegistry) *modelRuntime {
	t.Helper()
	// t.TempDir contains the test's name, which can make a socket's path too long.
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
	r := &modelRuntime{runtime: containerd, direct: dial(t, containerd.Socket()), folder: folder}
	r.client = r.direct.Connection
	if r.store, err = testbed.OpenImageStore(containerd.Socket()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.store.Close() })
	return r
}

func hostOf(registry *testbed.FaultyRegistry) string {
	return strings.TrimPrefix(registry.Address(), "http://")
}

func (r *modelRuntime) images() runtimeapi.ImageServiceClient {
	return runtimeapi.NewImageServiceClient(r.client)
}

func (r *modelRuntime) containers() runtimeapi.RuntimeServiceClient {
	return runtimeapi.NewRuntimeServiceClient(r.client)
}

// pull pulls an image without the shim.
func (r *modelRuntime) pull(ctx context.Context, name string) error {
	_, err := runtimeapi.NewImageServiceClient(r.direct.Connection).PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: name}})
	return err
}

// create creates a container in the runtime's pod. It starts the pod if there is none.
func (r *modelRuntime) create(ctx context.Context, name, image, userSpecified string) (id string, err error) {
	if r.pod == nil {
		r.pods++
		if r.pod, err = testbed.RunPod(ctx, r.direct, "model-"+string(rune('a'+r.pods%26)), filepath.Join(r.folder, "logs")); err != nil {
			return "", err
		}
	}
	request := r.pod.CreateRequest(name, image, "run")
	request.Config.Image.UserSpecifiedImage = userSpecified
	response, err := r.containers().CreateContainer(ctx, request)
	return response.GetContainerId(), err
}

// restart kills containerd and starts it again. Its pods end with it.
func (r *modelRuntime) restart(ctx context.Context) error {
	r.runtime.Kill()
	r.pod = nil
	err := r.runtime.Start(ctx)
	r.store.Reconnect()
	r.direct.Connection.ResetConnectBackoff()
	if err != nil {
		return err
	}
	_, err = runtimeapi.NewRuntimeServiceClient(r.direct.Connection).Version(ctx, &runtimeapi.VersionRequest{}, grpc.WaitForReady(true))
	return err
}
