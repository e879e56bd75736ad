package daemon

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"image-cri-shim/explain"
	"image-cri-shim/unixsocket"
)

// connectedClients counts the connections and calls of the processes that are connected to
// the shim's socket. A call takes no lock.
type connectedClients struct {
	mutex   sync.Mutex                                           // held by add and list
	clients atomic.Pointer[map[unixsocket.Peer]*connectedClient] // replaced, not changed; nil before the first client
}

type connectedClient struct {
	connections int           // guarded by the mutex of connectedClients
	calls       atomic.Uint64 // that ended without an error
}

// all returns the connected clients.
func (c *connectedClients) all() map[unixsocket.Peer]*connectedClient {
	if clients := c.clients.Load(); clients != nil {
		return *clients
	}
	return nil
}

// add adds delta to the number of a client's connections. A client without connections is
// removed.
func (c *connectedClients) add(peer unixsocket.Peer, delta int) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	client := c.all()[peer]
	if client != nil && client.connections+delta > 0 {
		client.connections += delta
		return
	}
	changed := maps.Clone(c.all())
	if changed == nil {
		changed = make(map[unixsocket.Peer]*connectedClient)
	}
	if delete(changed, peer); client == nil && delta > 0 {
		changed[peer] = &connectedClient{connections: delta}
	}
	c.clients.Store(&changed)
}

// countCall records a call that ended without an error.
func (c *connectedClients) countCall(peer unixsocket.Peer) {
	if client := c.all()[peer]; client != nil {
		client.calls.Add(1)
	}
}

// maxListedClients bounds the list of connected clients.
const maxListedClients = 64

// list returns the connected clients, kubelet first, then by process ID, and the number of
// clients above maxListedClients.
func (c *connectedClients) list() (clients []explain.ShimClient, more int) {
	c.mutex.Lock()
	connected := c.all()
	clients = make([]explain.ShimClient, 0, len(connected))
	for peer, client := range connected {
		clients = append(clients, explain.ShimClient{Process: peer.Process, User: peer.User, Connections: client.connections, Calls: client.calls.Load()})
	}
	c.mutex.Unlock()
	for i := range clients {
		clients[i].Name = unixsocket.ProcessName(clients[i].Process)
	}
	slices.SortFunc(clients, func(a, b explain.ShimClient) int {
		if a.IsKubelet() != b.IsKubelet() {
			if a.IsKubelet() {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Process, b.Process), cmp.Compare(a.User, b.User))
	})
	more = max(0, len(clients)-maxListedClients)
	return clients[:len(clients)-more], more
}

// clientListener counts the connections of clients.
type clientListener struct {
	net.Listener
	clients    *connectedClients
	unanswered func() // called when a connection ends before anything was sent to the client
}

// Accept implements [net.Listener].
func (l clientListener) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	unix, ok := connection.(*net.UnixConn)
	if err != nil || !ok {
		return connection, err
	}
	peer, _ := unixsocket.PeerOf(unix) // UnknownPeer on an error
	l.clients.add(peer, 1)
	c := &clientConn{UnixConn: unix}
	c.end = sync.OnceFunc(func() {
		l.clients.add(peer, -1)
		if !c.answered.Load() {
			l.unanswered()
		}
	})
	return c, nil
}

// clientConn is a counted connection.
type clientConn struct {
	*net.UnixConn
	end      func()
	answered atomic.Bool // whether anything was sent to the client
}

// Write implements [net.Conn].
func (c *clientConn) Write(b []byte) (int, error) {
	if !c.answered.Load() {
		c.answered.Store(true)
	}
	return c.UnixConn.Write(b)
}

// Close implements [net.Conn].
func (c *clientConn) Close() error {
	c.end()
	return c.UnixConn.Close()
}
