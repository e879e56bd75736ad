package testbed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// NotInitialized is the error message of an [UnavailableRuntime]; containerd uses the same.
const NotInitialized = "server is not initialized yet"

// UnavailableRuntime is a runtime that is not ready: it answers every call with
// Unavailable.
type UnavailableRuntime struct {
	server  *grpc.Server
	serving sync.WaitGroup
}

// StartUnavailableRuntime removes a stale socket file and listens on its path.
func StartUnavailableRuntime(ctx context.Context, socket string) (*UnavailableRuntime, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("start a runtime: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("start a runtime: %w", err)
	}
	r := &UnavailableRuntime{server: grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		return status.Error(codes.Unavailable, NotInitialized)
	}))}
	r.serving.Go(func() { _ = r.server.Serve(listener) }) // until Stop
	return r, nil
}

// Stop ends the runtime and removes its socket.
func (r *UnavailableRuntime) Stop() {
	r.server.Stop()
	r.serving.Wait()
}
