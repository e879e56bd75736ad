package proxy

import (
	"context"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"image-cri-shim/unixsocket"
)

// handshakeGate counts accepted connections before their handshake begins. grpc-go's server
// closes such connections when it stops, even gracefully. A shutdown therefore closes the gate
// first, and stops the server once no connection is pending.
//
// The gate implements the server's credentials, because the server begins each connection with
// their handshake.
type handshakeGate struct {
	credentials.TransportCredentials

	mutex     sync.Mutex
	listeners []net.Listener
	pending   int // accepted connections, and calls of Accept
	closed    bool
	drained   chan struct{} // closed when the gate is closed and no connection is pending
}

func newHandshakeGate() *handshakeGate {
	return &handshakeGate{TransportCredentials: insecure.NewCredentials(), drained: make(chan struct{})}
}

// ServerHandshake implements [credentials.TransportCredentials].
func (g *handshakeGate) ServerHandshake(client net.Conn) (net.Conn, credentials.AuthInfo, error) {
	g.count(-1)
	connection, info, err := g.TransportCredentials.ServerHandshake(client)
	peer, _ := unixsocket.PeerOf(client) // UnknownPeer on an error
	return connection, peerInfo{info, peer}, err
}

func (g *handshakeGate) count(connections int) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.pending += connections
	g.signalDrained()
}

// signalDrained closes drained if the gate is drained. The caller holds the mutex.
func (g *handshakeGate) signalDrained() {
	if g.closed && g.pending == 0 {
		select {
		case <-g.drained:
		default:
			close(g.drained)
		}
	}
}

// close closes the listeners, and waits until no connection is pending, or ctx is done.
func (g *handshakeGate) close(ctx context.Context) {
	g.mutex.Lock()
	g.closed = true
	for _, listener := range g.listeners {
		_ = listener.Close()
	}
	g.signalDrained()
	g.mutex.Unlock()
	select {
	case <-g.drained:
	case <-ctx.Done():
	}
}

func (g *handshakeGate) isClosed() bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.closed
}

// listener returns a listener that counts its accepted connections.
func (g *handshakeGate) listener(listener net.Listener) net.Listener {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.listeners = append(g.listeners, listener)
	if g.closed {
		_ = listener.Close()
	}
	return gatedListener{listener, g}
}

type gatedListener struct {
	net.Listener
	gate *handshakeGate
}

// Accept implements [net.Listener]. Pending calls count as connections, so that the gate is not
// drained while one of them returns a connection.
func (l gatedListener) Accept() (net.Conn, error) {
	l.gate.count(1)
	client, err := l.Listener.Accept()
	if err != nil {
		l.gate.count(-1)
	}
	return client, err
}
