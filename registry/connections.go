package registry

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// connections counts those that are open because of one registry's requests.
type connections struct{ atomic.Int64 }

type connectionsKey struct{}

// counted makes a request's dial, if it needs one, count. Values of its context are
// the dial's, too (http.Transport).
func (c *connections) counted(ctx context.Context) context.Context {
	return context.WithValue(ctx, connectionsKey{}, c)
}

type dial = func(ctx context.Context, network, address string) (net.Conn, error)

// counting makes connections count until they are closed.
func counting(dial dial) dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := dial(ctx, network, address)
		counter, ok := ctx.Value(connectionsKey{}).(*connections)
		if err != nil || !ok {
			return connection, err
		}
		counter.Add(1)
		return &counted{Conn: connection, end: sync.OnceFunc(func() { counter.Add(-1) })}, nil
	}
}

type counted struct {
	net.Conn
	end func()
}

// Close implements [net.Conn].
func (c *counted) Close() error {
	defer c.end()
	return c.Conn.Close()
}
