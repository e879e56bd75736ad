package registry

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// connectionCount counts the open connections of one registry.
type connectionCount struct{ atomic.Int64 }

type connectionsKey struct{}

// withCounter returns a context for requests. The connections that they open are counted.
// http.Transport passes the values of the request's context to its dial function.
func (c *connectionCount) withCounter(ctx context.Context) context.Context {
	return context.WithValue(ctx, connectionsKey{}, c)
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// countConnections wraps a dial function. The wrapper counts each connection, with the
// counter of its context, until the connection is closed.
func countConnections(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := dial(ctx, network, address)
		counter, ok := ctx.Value(connectionsKey{}).(*connectionCount)
		if err != nil || !ok {
			return connection, err
		}
		counter.Add(1)
		return &countedConn{Conn: connection, end: sync.OnceFunc(func() { counter.Add(-1) })}, nil
	}
}

type countedConn struct {
	net.Conn
	end func()
}

// Close implements [net.Conn].
func (c *countedConn) Close() error {
	defer c.end()
	return c.Conn.Close()
}
