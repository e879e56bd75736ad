package proxy

import (
	"context"
	"fmt"
	"net"

	"image-cri-shim/proxy/intercept"
)

// Options configures a [Server].
type Options struct {
	// Runtime is the path of the runtime's unix socket. It need not exist yet.
	Runtime string
	// Engine selects the engine that forwards the calls. The default is [EngineFrames].
	Engine Engine
	// Interceptors handles the methods that are not forwarded opaquely.
	Interceptors intercept.Interceptors
	// Unbounded lists methods, by full name, with streams that don't end on their own, such as
	// streams of events. [Server.Shutdown] does not wait for their calls to end.
	Unbounded []string
	// Observer, if not nil, observes each call.
	Observer Observer
}

// Engine selects an implementation of a [Server]. Both engines forward the same calls in the
// same way.
type Engine string

const (
	EngineFrames Engine = "frames" // HTTP/2 frames as they arrive, one connection to the runtime per client connection
	EngineGRPC   Engine = "grpc"   // grpc-go's server and client, one connection to the runtime for all clients
)

// Server forwards the calls of all clients of one socket to one runtime. Its
// methods are safe for concurrent use.
type Server struct{ engine engine }

// engine implements a [Server] for one [Engine].
type engine interface {
	serve(net.Listener) error
	shutdown(context.Context) error
	close() error
	waitForRuntime(context.Context) error
	invoke(ctx context.Context, method string, request []byte) ([]byte, error)
}

// New returns a server that serves nothing until [Server.Serve]. It must be ended with
// [Server.Shutdown] or [Server.Close].
func New(options Options) (*Server, error) {
	switch options.Engine {
	case EngineFrames, "":
		return &Server{newFramesEngine(options)}, nil
	case EngineGRPC:
		engine, err := newGRPCEngine(options)
		return &Server{engine}, err
	default:
		return nil, fmt.Errorf("found the engine %q, expected %s or %s", string(options.Engine), EngineFrames, EngineGRPC)
	}
}

// Serve accepts clients until the server is ended, and then returns nil. If the listener fails,
// it returns the error. It closes the listener.
func (s *Server) Serve(listener net.Listener) error { return s.engine.serve(listener) }

// Shutdown stops accepting clients and waits for the running calls to end. Unbounded calls are
// ended last, with Unavailable. If ctx is done first, Shutdown aborts the remaining calls and
// returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error { return s.engine.shutdown(ctx) }

// Close ends the server and aborts the running calls. After Shutdown or Close it does nothing.
func (s *Server) Close() error { return s.engine.close() }

// WaitForRuntime waits until the runtime's socket answers as an HTTP/2 server. It returns ctx's
// error if ctx is done first.
func (s *Server) WaitForRuntime(ctx context.Context) error { return s.engine.waitForRuntime(ctx) }

// Invoke calls a unary method of the runtime for the shim itself, not for a client. It is an
// [intercept.Invoke] that accepts any ctx. It sends the outgoing metadata of ctx
// (google.golang.org/grpc/metadata); values of -bin keys are not supported.
func (s *Server) Invoke(ctx context.Context, method string, request []byte) ([]byte, error) {
	return s.engine.invoke(ctx, method, request)
}
