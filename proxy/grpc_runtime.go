package proxy

import (
	"context"
	"fmt"
	"math"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // so that compressed calls can be forwarded
)

// dialRuntime prepares the connection to the runtime's unix socket. It does not wait
// for the runtime: while the runtime is down, calls fail immediately with Unavailable
// and the dial error, which names the socket.
//
// The backoff starts like kubelet's (cri-client, remote_image.go) but never exceeds a
// second, since a dial of a local socket is cheap.
func dialRuntime(socket string) (*grpc.ClientConn, error) {
	connection, err := grpc.NewClient("passthrough:///runtime",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}),
		grpc.WithAuthority("localhost"), // as kubelet sends it
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithIdleTimeout(0),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(codec{}),
			grpc.MaxCallRecvMsgSize(messageLimit),
			grpc.MaxCallSendMsgSize(math.MaxInt32),
		),
	)
	if err != nil {
		return nil, fmt.Errorf("runtime socket %s: %w", socket, err)
	}
	connection.Connect()
	return connection, nil
}

func (e *grpcEngine) waitForRuntime(ctx context.Context) error {
	for {
		state := e.runtime.GetState()
		switch state {
		case connectivity.Ready:
			return nil
		case connectivity.Idle:
			e.runtime.Connect()
		}
		if !e.runtime.WaitForStateChange(ctx, state) {
			return ctx.Err()
		}
	}
}

func (e *grpcEngine) invoke(ctx context.Context, method string, request []byte) ([]byte, error) {
	var response rawMessage
	if err := e.runtime.Invoke(ctx, method, newRawMessage(request), &response); err != nil {
		return nil, err
	}
	return response.consume(), nil
}
