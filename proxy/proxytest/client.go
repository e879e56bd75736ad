package proxytest

import (
	"context"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
)

// Dial prepares a client connection to a unix socket, as kubelet does
// (cri-client, remote_image.go): insecure, authority "localhost", a reconnect
// backoff of 100 ms to 3 s. options override these.
func Dial(socket string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	own := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(Codec("")),
			grpc.MaxCallRecvMsgSize(math.MaxInt32),
			grpc.MaxCallSendMsgSize(math.MaxInt32),
		),
	}
	return grpc.NewClient("unix:"+socket, append(own, options...)...)
}

// Invoke makes a unary call.
func Invoke(ctx context.Context, connection *grpc.ClientConn, method string, request []byte, options ...grpc.CallOption) ([]byte, error) {
	var response []byte
	err := connection.Invoke(ctx, method, &request, &response, options...)
	return response, err
}

// Open opens a bidirectional stream, which can also make a unary call.
func Open(ctx context.Context, connection *grpc.ClientConn, method string, options ...grpc.CallOption) (grpc.ClientStream, error) {
	return connection.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, options...)
}
