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

// forward carries one call to the runtime as it is.
//
// grpc-proxy's TransparentHandler pumps the messages in both directions. As it
// is, it carries them in an emptypb.Empty that it has parsed, forwards headers
// only behind a first message, and turns every failure of the client's side
// into Internal. So it is given two streams that look like its own but share a
// passage: the frames move through the passage untouched, headers go to the
// client when they come, and the call ends with the status it really had.
func (e *grpcEngine) forward(service any, stream grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	p := &passage{cancel: cancel}
	director := func(ctx context.Context, _ string) (context.Context, grpc.ClientConnInterface, error) {
		return outgoing(ctx), runtimeConnection{ClientConn: e.runtime, passage: p, options: callOptions(ctx)}, nil
	}
	client := &clientSide{ServerStream: stream, ctx: ctx, passage: p}
	p.client = client
	return grpcproxy.TransparentHandler(director)(service, client)
}

// outgoing is the context of a call to the runtime: the client's, with its
// metadata.
func outgoing(ctx context.Context) context.Context {
	received, _ := metadata.FromIncomingContext(ctx) // a copy
	delete(received, "grpc-accept-encoding")         // negotiated hop by hop
	delete(received, "content-length")               // the length on the wire may be another
	return metadata.NewOutgoingContext(ctx, received)
}

// callOptions make the runtime see the authority and the compression that the
// client chose.
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

// passage is what the two sides of one forwarded call share. Each frame is
// written and read by the one goroutine that pumps its direction.
type passage struct {
	client            *clientSide
	request, response frame
	cancel            context.CancelFunc
	failure           atomic.Pointer[error]
}

// fail ends the call with the status of err. It tells the pump that the client
// is done, so that the outcome is always read from the runtime's side, which
// the cancelled context ends.
func (p *passage) fail(err error) error {
	p.failure.CompareAndSwap(nil, &err)
	p.cancel()
	return io.EOF
}

// clientSide is the stream to the client.
type clientSide struct {
	grpc.ServerStream
	*passage
	ctx context.Context
}

func (c *clientSide) Context() context.Context { return c.ctx }

// RecvMsg takes the client's next message into the passage.
func (c *clientSide) RecvMsg(any) error {
	err := c.ServerStream.RecvMsg(&c.request)
	if err != nil && !errors.Is(err, io.EOF) {
		return c.fail(err)
	}
	return err
}

// SendMsg sends the message in the passage to the client.
func (c *clientSide) SendMsg(any) error { return c.ServerStream.SendMsg(&c.response) }

// SendHeader does nothing: the runtime's side has forwarded the headers already.
func (c *clientSide) SendHeader(metadata.MD) error { return nil }

// runtimeConnection opens streams whose messages go through the passage.
type runtimeConnection struct {
	*grpc.ClientConn
	passage *passage
	options []grpc.CallOption
}

func (r runtimeConnection) NewStream(ctx context.Context, description *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := r.ClientConn.NewStream(ctx, description, method, r.options...)
	if err != nil {
		return nil, err
	}
	return &runtimeSide{ClientStream: stream, passage: r.passage}, nil
}

// runtimeSide is the stream to the runtime.
type runtimeSide struct {
	grpc.ClientStream
	*passage
	headerDone, ended bool // used by one pump, and by the handler after it
}

// SendMsg sends the message in the passage to the runtime. io.EOF means that
// the runtime has ended the call; its status follows from RecvMsg.
func (r *runtimeSide) SendMsg(any) error {
	err := r.ClientStream.SendMsg(&r.request)
	if err != nil && !errors.Is(err, io.EOF) {
		return r.fail(err)
	}
	return err
}

// CloseSend passes the client's half-close on, but not where the client failed:
// the runtime must not take an aborted call for a complete one.
func (r *runtimeSide) CloseSend() error {
	if r.failure.Load() != nil {
		return nil
	}
	return r.ClientStream.CloseSend()
}

// RecvMsg takes the runtime's next message into the passage, its headers first.
func (r *runtimeSide) RecvMsg(any) error {
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
func (r *runtimeSide) Trailer() metadata.MD {
	if !r.ended {
		return nil
	}
	return r.ClientStream.Trailer()
}

func (r *runtimeSide) forwardHeader() error {
	if r.headerDone {
		return nil
	}
	r.headerDone = true
	header, err := r.Header()
	if err != nil || header == nil {
		return nil // the call has ended without headers: RecvMsg has its status
	}
	return r.client.ServerStream.SendHeader(header)
}
