package proxy

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// absentAge is after how long a connection that began without a runtime is to be
// replaced by the client.
const absentAge = time.Second

// absent answers the clients that connect while the runtime is away: with the grpc
// engine, whose calls fail at once and name the runtime's socket, and succeed once it is
// back. Such connections are asked to end after a while, so that the next ones are relayed.
//
// Clients that wait for readiness get Unavailable, too. They would wait if the connection
// were closed or held before SETTINGS, but then the error of fail-fast calls, such as all of
// kubelet's, would not name the socket.
type absent struct {
	options Options

	mutex  sync.Mutex
	engine *grpcEngine // nil before it is needed
	queue  *queue
	served chan error
	closed bool
}

func newAbsent(options Options) *absent { return &absent{options: options} }

// answer serves a connection, which it owns from now on.
func (a *absent) answer(connection net.Conn) {
	a.mutex.Lock()
	queue, err := a.start()
	a.mutex.Unlock()
	if err != nil || !queue.put(connection) {
		_ = connection.Close()
	}
}

// start starts the engine where it does not run; the caller holds the mutex.
func (a *absent) start() (*queue, error) {
	if a.closed {
		return nil, net.ErrClosed
	}
	if a.engine != nil {
		return a.queue, nil
	}
	engine, err := newGRPCEngine(a.options, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: absentAge}))
	if err != nil {
		return nil, err
	}
	a.engine, a.queue, a.served = engine, newQueue(), make(chan error, 1)
	go func() { a.served <- engine.serve(a.queue) }()
	return a.queue, nil
}

func (a *absent) stop() *grpcEngine {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.closed = true
	return a.engine
}

func (a *absent) shutdown(ctx context.Context) {
	if engine := a.stop(); engine != nil {
		_ = engine.shutdown(ctx) // close tells
	}
}

func (a *absent) close() error {
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

// queue is a [net.Listener] whose connections somebody else has accepted.
type queue struct {
	connections chan net.Conn
	closed      chan struct{}
	close       func()
}

func newQueue() *queue {
	q := &queue{connections: make(chan net.Conn), closed: make(chan struct{})}
	q.close = sync.OnceFunc(func() { close(q.closed) })
	return q
}

func (q *queue) put(connection net.Conn) bool {
	select {
	case q.connections <- connection:
		return true
	case <-q.closed:
		return false
	}
}

// Accept implements [net.Listener].
func (q *queue) Accept() (net.Conn, error) {
	select {
	case connection := <-q.connections:
		return connection, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (q *queue) Close() error {
	q.close()
	return nil
}

// Addr implements [net.Listener].
func (q *queue) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }
