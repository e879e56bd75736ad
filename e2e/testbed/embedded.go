package testbed

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // container runtimes support it too
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// EmbeddedRuntime is a container runtime inside this process that has images but no
// containers. It pulls images over HTTP and names them as containerd does. The tests
// and the demo use it where containerd can't run.
type EmbeddedRuntime struct {
	options RuntimeOptions
	images  *imageService
	server  *grpc.Server
	serving sync.WaitGroup
}

// StartEmbeddedRuntime serves CRI v1 and v1alpha2 on a unix socket.
func StartEmbeddedRuntime(ctx context.Context, options RuntimeOptions) (*EmbeddedRuntime, error) {
	if err := os.MkdirAll(options.Folder, 0o700); err != nil {
		return nil, fmt.Errorf("start the embedded runtime: %w", err)
	}
	r := &EmbeddedRuntime{options: options, images: newImageService(options.Hosts)}
	return r, r.Start(ctx)
}

// Socket returns the path of the unix socket that serves CRI.
func (r *EmbeddedRuntime) Socket() string { return filepath.Join(r.options.Folder, "runtime.sock") }

// Start restarts a stopped runtime with the same images.
func (r *EmbeddedRuntime) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", r.Socket())
	if err != nil {
		return fmt.Errorf("start the embedded runtime: %w", err)
	}
	r.server = grpc.NewServer()
	// The messages of v1alpha2 are those of v1 under other method names.
	for _, version := range []string{"v1", "v1alpha2"} {
		images, runtime := runtimeapi.ImageService_ServiceDesc, runtimeapi.RuntimeService_ServiceDesc
		images.ServiceName = "runtime." + version + ".ImageService"
		runtime.ServiceName = "runtime." + version + ".RuntimeService"
		r.server.RegisterService(&images, r.images)
		r.server.RegisterService(&runtime, runtimeService{})
	}
	r.serving.Go(func() { _ = r.server.Serve(listener) }) // until Stop
	return nil
}

// Stop ends the runtime and aborts calls in progress.
func (r *EmbeddedRuntime) Stop() {
	r.server.Stop()
	r.serving.Wait()
}

// Kill is Stop: there is no process to kill.
func (r *EmbeddedRuntime) Kill() { r.Stop() }

// runtimeService serves the calls that a client makes before it uses images.
type runtimeService struct {
	runtimeapi.UnimplementedRuntimeServiceServer
}

func (runtimeService) Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{
		Version: "0.1.0", RuntimeName: "embedded", RuntimeVersion: "1.0.0", RuntimeApiVersion: "v1",
	}, nil
}

func (runtimeService) Status(context.Context, *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	return &runtimeapi.StatusResponse{Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
		{Type: "RuntimeReady", Status: true},
		{Type: "NetworkReady", Status: false, Reason: "NoContainers", Message: "the embedded runtime has images only"},
	}}}, nil
}
