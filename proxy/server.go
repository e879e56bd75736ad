package proxy

import (
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Options says what a [Server] stands in front of.
type Options struct {
	// Runtime is the path of the runtime's unix socket. It need not exist yet.
	Runtime string
	// Interceptors are the methods that are not forwarded opaquely.
	Interceptors Interceptors
	// Observe, where not nil, is told of each call when it has ended. It is
	// called from many goroutines at once and must not block.
	Observe func(Call)
}

// Call is one call that has ended.
type Call struct {
	Method   string // full name, "/runtime.v1.RuntimeService/Version"
	Code     codes.Code
	Err      error // nil where Code is OK
	Duration time.Duration
}

// Server forwards the calls of all clients of one socket to one runtime. Its
// methods are safe for concurrent use.
type Server struct {
	runtime      *grpc.ClientConn
	disconnect   func() error // closes runtime, once
	server       *grpc.Server
	interceptors Interceptors
	observe      func(Call)
}

// New prepares a server. It listens on nothing until [Server.Serve], and must
// be ended with [Server.Shutdown] or [Server.Close].
func New(options Options) (*Server, error) {
	runtime, err := dialRuntime(options.Runtime)
	if err != nil {
		return nil, err
	}
	s := &Server{
		runtime:      runtime,
		disconnect:   sync.OnceValue(runtime.Close),
		interceptors: options.Interceptors,
		observe:      options.Observe,
	}
	s.server = grpc.NewServer(
		grpc.ForceServerCodecV2(codec{}),
		grpc.UnknownServiceHandler(s.handle),
		grpc.MaxRecvMsgSize(math.MaxInt32),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.WaitForHandlers(true),
		// How often a local client pings is for the client to decide.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Millisecond, PermitWithoutStream: true}),
	)
	return s, nil
}

// Serve accepts clients until the server is ended, then returns nil, or until
// the listener fails. It closes the listener.
func (s *Server) Serve(listener net.Listener) error {
	err := s.server.Serve(listener)
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// Shutdown stops accepting clients and lets the running calls end. When ctx is
// done first it cuts them and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.server.GracefulStop()
	}()
	var cut error
	select {
	case <-drained:
	case <-ctx.Done():
		cut = ctx.Err()
		s.server.Stop()
		<-drained
	}
	return errors.Join(cut, s.disconnect())
}

// Close ends the server and cuts the running calls. After Shutdown, or a second
// time, it does nothing.
func (s *Server) Close() error {
	s.server.Stop()
	return s.disconnect()
}

// handle answers every call: the server has no service of its own.
func (s *Server) handle(service any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	start := time.Now()
	err := expired(stream.Context(), s.route(service, stream, method))
	if s.observe != nil {
		s.observe(Call{Method: method, Code: status.Code(err), Err: err, Duration: time.Since(start)})
	}
	return err
}

// expired gives a call whose deadline has passed that status. grpc-go resets the
// stream at the same moment, so that the context may say Canceled instead.
func expired(ctx context.Context, err error) error {
	deadline, set := ctx.Deadline()
	if set && status.Code(err) == codes.Canceled && !time.Now().Before(deadline) {
		return status.FromContextError(context.DeadlineExceeded).Err()
	}
	return err
}

func (s *Server) route(service any, stream grpc.ServerStream, method string) error {
	if handle, ok := s.interceptors.Unary[method]; ok {
		return s.intercept(stream, method).unary(handle)
	}
	if handle, ok := s.interceptors.Stream[method]; ok {
		return s.intercept(stream, method).serverStream(handle)
	}
	return s.forward(service, stream)
}
