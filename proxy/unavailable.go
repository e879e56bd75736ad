package proxy

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// unavailableAge is the maximum age of a connection that began without a runtime. The server
// then asks the client to replace it.
const unavailableAge = time.Second

// unavailableServer serves the clients that connect while the runtime is unavailable. It uses
// the grpc engine: calls fail immediately with an error that names the runtime's socket, and
// succeed once the runtime is back. Clients are asked to replace such connections after a
// while, so that the next ones are relayed.
//
// Calls that wait for readiness (gRPC's wait-for-ready) get Unavailable, too. They would wait
// if the connection were closed or held before SETTINGS, but then the error of fail-fast calls,
// such as all of kubelet's, would not name the socket.
type unavailableServer struct {
	options Options

	mutex    sync.Mutex
	engine   *grpcEngine // nil until it is needed
	listener *handoffListener
	served   chan error
	closed   bool
}

func newUnavailableServer(options Options) *unavailableServer {
	return &unavailableServer{options: options}
}

// answer serves a connection and takes ownership of it.
func (a *unavailableServer) answer(connection net.Conn) {
	a.mutex.Lock()
	listener, err := a.start()
	a.mutex.Unlock()
	if err != nil || !listener.put(connection) {
		_ = connection.Close()
	}
}

// start starts the engine unless it is running. The caller holds the mutex.
func (a *unavailableServer) start() (*handoffListener, error) {
	if a.closed {
		return nil, net.ErrClosed
	}
	if a.engine != nil {
		return a.listener, nil
	}
	engine, err := newGRPCEngine(a.options, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: unavailableAge}))
	if err != nil {
		return nil, err
	}
	a.engine, a.listener, a.served = engine, newHandoffListener(), make(chan error, 1)
	go func() { a.served <- engine.serve(a.listener) }()
	return a.listener, nil
}

func (a *unavailableServer) stop() *grpcEngine {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.closed = true
	return a.engine
}

func (a *unavailableServer) shutdown(ctx context.Context) {
	if engine := a.stop(); engine != nil {
		_ = engine.shutdown(ctx) // close returns the same error
	}
}

func (a *unavailableServer) close() error {
	engine := a.stop()
	if engine == nil {
		return nil
	}
	err := engine.close()
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.served != nil {
		<-a.served
		a.served = nil
	}
	return err
}

// handoffListener is a [net.Listener] for connections that another listener has accepted.
type handoffListener struct {
	connections chan net.Conn
	closed      chan struct{}
	close       func()
}

func newHandoffListener() *handoffListener {
	l := &handoffListener{connections: make(chan net.Conn), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	return l
}

func (l *handoffListener) put(connection net.Conn) bool {
	select {
	case l.connections <- connection:
		return true
	case <-l.closed:
		return false
	}
}

// Accept implements [net.Listener].
func (l *handoffListener) Accept() (net.Conn, error) {
	select {
	case connection := <-l.connections:
		return connection, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *handoffListener) Close() error {
	l.close()
	return nil
}

// Addr implements [net.Listener].
func (l *handoffListener) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }
