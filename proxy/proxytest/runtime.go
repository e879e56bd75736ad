package proxytest

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // as in container runtimes
	"google.golang.org/grpc/status"
)

// Handler answers one call of any kind. It must return when the stream's
// context is done. An error without a gRPC status reaches the client as Unknown.
type Handler func(stream grpc.ServerStream) error

// Runtime is a gRPC server on a unix socket. Its methods are [Handler]s. It can
// be stopped and started again. It is safe for concurrent use, except that
// Start and Stop must alternate.
type Runtime struct {
	socket      string
	options     []grpc.ServerOption
	connections Counter
	calls       atomic.Int64

	mutex    sync.Mutex
	handlers map[string]Handler

	server *grpc.Server
	served chan error
}

// NewRuntime returns a runtime without methods. options are added to those of its gRPC server.
func NewRuntime(socket string, options ...grpc.ServerOption) *Runtime {
	return &Runtime{socket: socket, options: options, handlers: map[string]Handler{}}
}

// Socket returns the path of the unix socket.
func (r *Runtime) Socket() string { return r.socket }

// Connections returns the number of open connections from clients.
func (r *Runtime) Connections() int { return r.connections.Open() }

// Calls returns the number of running handlers.
func (r *Runtime) Calls() int { return int(r.calls.Load()) }

// Handle sets the handler of a method, which is named in full: "/package.Service/Method".
func (r *Runtime) Handle(method string, handler Handler) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.handlers[method] = handler
}

// Start listens and serves until Stop. It replaces a socket file left by Stop.
func (r *Runtime) Start() error {
	if err := os.Remove(r.socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the socket of the last run: %w", err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: r.socket, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen on %s: %w", r.socket, err)
	}
	listener.SetUnlinkOnClose(false)
	r.server = grpc.NewServer(append([]grpc.ServerOption{
		grpc.ForceServerCodecV2(Codec("")),
		grpc.UnknownServiceHandler(r.answer),
		grpc.MaxRecvMsgSize(math.MaxInt32),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.WaitForHandlers(true),
	}, r.options...)...)
	r.served = make(chan error, 1)
	go func(server *grpc.Server, served chan<- error) {
		served <- server.Serve(r.connections.Listener(listener))
	}(r.server, r.served)
	return nil
}

// Stop simulates a crash: connections are closed and the socket file stays. It
// returns after all handlers have returned. The error is not nil if serving had
// already failed.
func (r *Runtime) Stop() error {
	r.server.Stop()
	if err := <-r.served; !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

func (r *Runtime) answer(_ any, stream grpc.ServerStream) error {
	r.calls.Add(1)
	defer r.calls.Add(-1)
	method, _ := grpc.MethodFromServerStream(stream)
	r.mutex.Lock()
	handler := r.handlers[method]
	r.mutex.Unlock()
	if handler == nil {
		return status.Errorf(codes.Unimplemented, "the runtime has no method %s", method)
	}
	return handler(stream)
}
