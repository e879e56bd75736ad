package testbed

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// FailingRuntime is a proxy in front of a runtime. It forwards unary calls, and answers
// ImageStatus with an error for the references set by Fail.
type FailingRuntime struct {
	socket   string
	upstream *grpc.ClientConn
	server   *grpc.Server
	serving  sync.WaitGroup

	mutex    sync.Mutex
	failures map[string]error
}

// StartFailingRuntime listens on socket and forwards to the runtime at upstream. No call
// fails until Fail is called.
func StartFailingRuntime(ctx context.Context, socket, upstream string) (*FailingRuntime, error) {
	connection, err := dial(upstream)
	if err != nil {
		return nil, fmt.Errorf("start the failing runtime: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the failing runtime: %w", err), connection.Close())
	}
	r := &FailingRuntime{socket: socket, upstream: connection}
	r.server = grpc.NewServer(grpc.UnknownServiceHandler(r.answer), grpc.MaxRecvMsgSize(math.MaxInt32))
	r.serving.Go(func() { _ = r.server.Serve(listener) }) // until Stop
	return r, nil
}

// Socket returns the path of its unix socket.
func (r *FailingRuntime) Socket() string { return r.socket }

// Fail makes ImageStatus return failure for these references and IDs, and for no
// others. With a nil failure all calls succeed again.
func (r *FailingRuntime) Fail(failure error, references ...string) {
	failures := make(map[string]error)
	for _, reference := range references {
		failures[reference] = failure
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.failures = failures
}

// Start does nothing: StartFailingRuntime has started the server.
func (r *FailingRuntime) Start(context.Context) error { return nil }

// Stop ends the proxy, but not the runtime behind it.
func (r *FailingRuntime) Stop() {
	r.server.Stop()
	r.serving.Wait()
	_ = r.upstream.Close()
}

// Kill is Stop.
func (r *FailingRuntime) Kill() { r.Stop() }

// answer relays a unary call. An [emptypb.Empty] can carry any message: all of its fields
// are unknown, and unknown fields are kept.
func (r *FailingRuntime) answer(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	request, response := &emptypb.Empty{}, &emptypb.Empty{}
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	if err := r.failure(method, request); err != nil {
		return err
	}
	ctx := stream.Context()
	if received, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, received)
	}
	if err := r.upstream.Invoke(ctx, method, request, response); err != nil {
		return status.Convert(err).Err()
	}
	return stream.SendMsg(response)
}

func (r *FailingRuntime) failure(method string, message proto.Message) error {
	if method != runtimeapi.ImageService_ImageStatus_FullMethodName {
		return nil
	}
	encoded, err := proto.Marshal(message)
	if err != nil {
		return err
	}
	request := &runtimeapi.ImageStatusRequest{}
	if err := proto.Unmarshal(encoded, request); err != nil {
		return err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.failures[request.GetImage().GetImage()]
}
