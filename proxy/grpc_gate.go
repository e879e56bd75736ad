package proxy

import (
	"context"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"image-cri-shim/unixsocket"
)

// gate counts the clients that have been accepted and that grpc-go's server has not
// taken up yet: those it cuts when it stops, gracefully or not. So a shutdown closes the
// gate first, and stops the server when nobody stands in it.
//
// It is the server's credentials because their handshake is what begins when a client
// is taken up.
type gate struct {
	credentials.TransportCredentials

	mutex     sync.Mutex
	listeners []net.Listener
	inside    int
	closed    bool
	empty     chan struct{} // closed when the gate is closed and nobody is inside
}

func newGate() *gate {
	return &gate{TransportCredentials: insecure.NewCredentials(), empty: make(chan struct{})}
}

// ServerHandshake implements [credentials.TransportCredentials].
func (g *gate) ServerHandshake(client net.Conn) (net.Conn, credentials.AuthInfo, error) {
	g.count(-1)
	connection, info, err := g.TransportCredentials.ServerHandshake(client)
	peer, _ := unixsocket.PeerOf(client) // unknown on an error
	return connection, peerInfo{info, peer}, err
}

func (g *gate) count(clients int) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.inside += clients
	g.check()
}

// check is called with the mutex held.
func (g *gate) check() {
	if g.closed && g.inside == 0 {
		select {
		case <-g.empty:
		default:
			close(g.empty)
		}
	}
}

// close lets nobody in any more, and waits until nobody is inside, or ctx is done.
func (g *gate) close(ctx context.Context) {
	g.mutex.Lock()
	g.closed = true
	for _, listener := range g.listeners {
		_ = listener.Close()
	}
	g.check()
	g.mutex.Unlock()
	select {
	case <-g.empty:
	case <-ctx.Done():
	}
}

func (g *gate) isClosed() bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.closed
}

// listener counts the clients that a listener accepts.
func (g *gate) listener(listener net.Listener) net.Listener {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.listeners = append(g.listeners, listener)
	if g.closed {
		_ = listener.Close()
	}
	return gated{listener, g}
}

type gated struct {
	net.Listener
	gate *gate
}

// Accept implements [net.Listener]. Who waits in it counts, too, so that nobody is
// overlooked who is just coming.
func (l gated) Accept() (net.Conn, error) {
	l.gate.count(1)
	client, err := l.Listener.Accept()
	if err != nil {
		l.gate.count(-1)
	}
	return client, err
}
