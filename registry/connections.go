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

// withCounter returns a context whose dials, if a request needs any, are counted.
// http.Transport passes the values of a request's context to its dial.
func (c *connectionCount) withCounter(ctx context.Context) context.Context {
	return context.WithValue(ctx, connectionsKey{}, c)
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// countConnections returns a dial function that counts connections until they are closed.
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
