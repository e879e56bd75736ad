package proxy

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	grpcproxy "github.com/mwitkow/grpc-proxy/proxy"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// forward forwards one call to the runtime unchanged.
//
// grpc-proxy's TransparentHandler copies the messages in both directions. Alone it would parse
// each message into an emptypb.Empty, forward headers only with the first message, and turn
// every failure of the client's stream into Internal. Therefore it gets two streams that share
// a forwardedCall: the messages pass through that call untouched, headers are sent to the
// client as they arrive, and the call ends with its own status.
func (e *grpcEngine) forward(service any, stream grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	call := &forwardedCall{cancel: cancel}
	director := func(ctx context.Context, _ string) (context.Context, grpc.ClientConnInterface, error) {
		return outgoing(ctx), runtimeConnection{ClientConn: e.runtime, forwardedCall: call, options: callOptions(ctx)}, nil
	}
	client := &clientStream{ServerStream: stream, ctx: ctx, forwardedCall: call}
	call.client = client
	return grpcproxy.TransparentHandler(director)(service, client)
}

// outgoing returns the context of a call to the runtime, with the client's metadata.
func outgoing(ctx context.Context) context.Context {
	received, _ := metadata.FromIncomingContext(ctx) // a copy
	delete(received, "grpc-accept-encoding")         // negotiated per hop
	delete(received, "content-length")               // the length on the wire may differ
	return metadata.NewOutgoingContext(ctx, received)
}

// callOptions returns options that pass the client's authority and compression on to the
// runtime.
func callOptions(ctx context.Context) []grpc.CallOption {
	var options []grpc.CallOption
	if authority := metadata.ValueFromIncomingContext(ctx, ":authority"); len(authority) == 1 {
		options = append(options, grpc.CallAuthority(authority[0]))
	}
	stream, ok := grpc.ServerTransportStreamFromContext(ctx).(interface{ RecvCompress() string })
	if ok && stream.RecvCompress() != "" {
		options = append(options, grpc.UseCompressor(stream.RecvCompress()))
	}
	return options
}

// forwardedCall is the state that the two streams of one forwarded call share. Each message
// is written and read by the goroutine that copies its direction.
type forwardedCall struct {
	client            *clientStream
	request, response rawMessage
	cancel            context.CancelFunc
	failure           atomic.Pointer[error]
}

// fail ends the call with the status of err. It returns io.EOF, the end of the client's stream,
// so that the outcome is always read from the runtime's stream, which ends with the canceled
// context.
func (f *forwardedCall) fail(err error) error {
	f.failure.CompareAndSwap(nil, &err)
	f.cancel()
	return io.EOF
}

// clientStream is the stream to the client.
type clientStream struct {
	grpc.ServerStream
	*forwardedCall
	ctx context.Context
}

func (c *clientStream) Context() context.Context { return c.ctx }

// RecvMsg receives the client's next message into the shared call.
func (c *clientStream) RecvMsg(any) error {
	err := c.ServerStream.RecvMsg(&c.request)
	if err != nil && !errors.Is(err, io.EOF) {
		return c.fail(err)
	}
	return err
}

// SendMsg sends the message of the shared call to the client.
func (c *clientStream) SendMsg(any) error { return c.ServerStream.SendMsg(&c.response) }

// SendHeader does nothing: the runtime's stream has forwarded the headers.
func (c *clientStream) SendHeader(metadata.MD) error { return nil }

// runtimeConnection opens the runtime's stream of a forwarded call.
type runtimeConnection struct {
	*grpc.ClientConn
	forwardedCall *forwardedCall
	options       []grpc.CallOption
}

func (r runtimeConnection) NewStream(ctx context.Context, description *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := r.ClientConn.NewStream(ctx, description, method, r.options...)
	if err != nil {
		return nil, err
	}
	return &runtimeStream{ClientStream: stream, forwardedCall: r.forwardedCall}, nil
}

// runtimeStream is the stream to the runtime.
type runtimeStream struct {
	grpc.ClientStream
	*forwardedCall
	headerDone, ended bool // used by one copying goroutine, and by the handler after it
}

// SendMsg sends the message of the shared call to the runtime. io.EOF means that
// the runtime has ended the call; its status follows from RecvMsg.
func (r *runtimeStream) SendMsg(any) error {
	err := r.ClientStream.SendMsg(&r.request)
	if err != nil && !errors.Is(err, io.EOF) {
		return r.fail(err)
	}
	return err
}

// CloseSend passes on the client's half-close, unless the client's stream failed: the runtime
// must not mistake an aborted call for a complete one.
func (r *runtimeStream) CloseSend() error {
	if r.failure.Load() != nil {
		return nil
	}
	return r.ClientStream.CloseSend()
}

// RecvMsg receives the runtime's next message into the shared call, after forwarding the
// headers.
func (r *runtimeStream) RecvMsg(any) error {
	if err := r.forwardHeader(); err != nil {
		return err
	}
	err := r.ClientStream.RecvMsg(&r.response)
	r.ended = err != nil
	if err != nil && !errors.Is(err, io.EOF) {
		if failure := r.failure.Load(); failure != nil {
			return *failure
		}
	}
	return err
}

// Trailer is nil until the runtime has ended the call: grpc-go may still be
// writing it.
func (r *runtimeStream) Trailer() metadata.MD {
	if !r.ended {
		return nil
	}
	return r.ClientStream.Trailer()
}

func (r *runtimeStream) forwardHeader() error {
	if r.headerDone {
		return nil
	}
	r.headerDone = true
	header, err := r.Header()
	if err != nil || header == nil {
		return nil // the call has ended without headers: RecvMsg returns its status
	}
	return r.client.ServerStream.SendHeader(header)
}
