package proxy

import (
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"image-cri-shim/proxy/intercept"
)

// messageLimit bounds a message in the grpc engine, in bytes and also after decompression,
// since grpc-go buffers each message as a whole. Runtimes accept and send at most 16 MiB
// (containerd) or 80 MiB (CRI-O).
const messageLimit = 128 << 20

// grpcEngine forwards calls with grpc-go's server and client.
type grpcEngine struct {
	runtime        *grpc.ClientConn
	disconnect     func() error // closes runtime, once
	server         *grpc.Server
	interceptors   intercept.Interceptors
	observer       Observer
	unbounded      unboundedMethods
	unboundedCalls *unboundedCalls
	gate           *handshakeGate
}

func newGRPCEngine(options Options, more ...grpc.ServerOption) (*grpcEngine, error) {
	runtime, err := dialRuntime(options.Runtime)
	if err != nil {
		return nil, err
	}
	e := &grpcEngine{
		runtime:        runtime,
		disconnect:     sync.OnceValue(runtime.Close),
		interceptors:   options.Interceptors,
		observer:       options.Observer,
		unbounded:      options.Unbounded,
		unboundedCalls: newUnboundedCalls(),
		gate:           newHandshakeGate(),
	}
	e.server = grpc.NewServer(append([]grpc.ServerOption{
		grpc.ForceServerCodecV2(codec{}),
		grpc.UnknownServiceHandler(e.handle),
		grpc.MaxRecvMsgSize(messageLimit),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.WaitForHandlers(true),
		grpc.Creds(e.gate),
		// Local clients choose how often they ping.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Millisecond, PermitWithoutStream: true}),
	}, more...)...)
	return e, nil
}

func (e *grpcEngine) serve(listener net.Listener) error {
	err := e.server.Serve(e.gate.listener(listener))
	if errors.Is(err, grpc.ErrServerStopped) || e.gate.isClosed() {
		return nil
	}
	return err
}

func (e *grpcEngine) shutdown(ctx context.Context) error {
	e.unboundedCalls.drain()
	e.gate.close(ctx)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		e.server.GracefulStop()
	}()
	var cut error
	select {
	case <-drained:
	case <-ctx.Done():
		cut = ctx.Err()
		e.server.Stop()
		<-drained
	}
	e.unboundedCalls.end()
	return errors.Join(cut, e.disconnect())
}

func (e *grpcEngine) close() error {
	e.server.Stop()
	e.unboundedCalls.end()
	return e.disconnect()
}

// handle handles every call, since no service is registered with the server.
func (e *grpcEngine) handle(service any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	o := newObservedCall(e.observer, clientOf(stream.Context()), method)
	if o != nil {
		stream = observedStream{ServerStream: stream, observed: o, ctx: o.context(stream.Context())}
	}
	deadline, _ := stream.Context().Deadline()
	err := statusOfEnd(e.call(service, stream, method), deadline)
	o.end(err)
	return err
}

func (e *grpcEngine) call(service any, stream grpc.ServerStream, method string) error {
	if e.unbounded.has(method) {
		return e.unboundedCalls.run(stream, func(stream grpc.ServerStream) error { return e.route(service, stream, method) })
	}
	e.unboundedCalls.addBounded(1)
	defer e.unboundedCalls.addBounded(-1)
	return e.route(service, stream, method)
}

func (e *grpcEngine) route(service any, stream grpc.ServerStream, method string) error {
	if e.interceptors.IsOpaque(method) {
		return e.forward(service, stream)
	}
	if handle, ok := e.interceptors.Unary[method]; ok {
		return e.intercept(stream, method).unary(handle)
	}
	if handle, ok := e.interceptors.Stream[method]; ok {
		return e.intercept(stream, method).serverStream(handle)
	}
	return e.forward(service, stream)
}
