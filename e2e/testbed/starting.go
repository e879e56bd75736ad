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

// NotInitialized is what a [StartingRuntime] answers, in containerd's words.
const NotInitialized = "server is not initialized yet"

// StartingRuntime is a runtime that is not ready yet: it answers every call with
// Unavailable.
type StartingRuntime struct {
	server  *grpc.Server
	serving sync.WaitGroup
}

// StartStartingRuntime takes a socket's place: the file is another one afterwards.
func StartStartingRuntime(ctx context.Context, socket string) (*StartingRuntime, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("start a runtime: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("start a runtime: %w", err)
	}
	r := &StartingRuntime{server: grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		return status.Error(codes.Unavailable, NotInitialized)
	}))}
	r.serving.Go(func() { _ = r.server.Serve(listener) }) // until Stop
	return r, nil
}

// Stop ends the runtime and removes its socket.
func (r *StartingRuntime) Stop() {
	r.server.Stop()
	r.serving.Wait()
}
