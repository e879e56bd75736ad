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
	// Engine forwards the calls; empty is [EngineFrames].
	Engine Engine
	// Interceptors are the methods that are not forwarded opaquely.
	Interceptors intercept.Interceptors
	// Unbounded are methods, by their full name, whose streams have no end of their own.
	// [Server.Shutdown] does not wait for their calls to end.
	Unbounded []string
	// Observer, if not nil, observes each call.
	Observer Observer
}

// Engine is a way to forward calls. Both forward the same calls in the same way.
type Engine string

const (
	EngineFrames Engine = "frames" // HTTP/2 frames as they come, on a connection to the runtime for each client's
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

// New prepares a server. It listens on nothing until [Server.Serve], and must
// be ended with [Server.Shutdown] or [Server.Close].
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

// Serve accepts clients until the server is ended, then returns nil, or until
// the listener fails. It closes the listener.
func (s *Server) Serve(listener net.Listener) error { return s.engine.serve(listener) }

// Shutdown stops accepting clients and lets the running calls end. Unbounded ones are
// ended last, with Unavailable. When ctx is done first it cuts all that are left and
// returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error { return s.engine.shutdown(ctx) }

// Close ends the server and cuts the running calls. After Shutdown, or a second
// time, it does nothing.
func (s *Server) Close() error { return s.engine.close() }

// WaitForRuntime returns nil once the runtime's socket has answered as an
// HTTP/2 server, or ctx's error.
func (s *Server) WaitForRuntime(ctx context.Context) error { return s.engine.waitForRuntime(ctx) }

// Invoke calls a unary method of the runtime for the shim itself, on behalf of no
// client. It is an [intercept.Invoke] whose ctx may be any. The outgoing metadata of ctx
// (google.golang.org/grpc/metadata) is sent along; values of -bin keys are not supported.
func (s *Server) Invoke(ctx context.Context, method string, request []byte) ([]byte, error) {
	return s.engine.invoke(ctx, method, request)
}
