package proxytest

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// Counter counts the accepted connections that are still open. The zero value
// is ready for use. It is safe for concurrent use.
type Counter struct {
	open atomic.Int64
}

// Open returns the number of open connections.
func (c *Counter) Open() int { return int(c.open.Load()) }

// Listener returns a listener that counts the connections that it accepts.
func (c *Counter) Listener(listener net.Listener) net.Listener {
	return &countedListener{Listener: listener, counter: c}
}

type countedListener struct {
	net.Listener
	counter *Counter
}

func (l *countedListener) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.counter.open.Add(1)
	return &countedConnection{Conn: connection, counter: l.counter}, nil
}

type countedConnection struct {
	net.Conn
	counter *Counter
	closed  sync.Once
}

// SyscallConn implements [syscall.Conn] if the connection does.
func (c *countedConnection) SyscallConn() (syscall.RawConn, error) {
	if connection, ok := c.Conn.(syscall.Conn); ok {
		return connection.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

func (c *countedConnection) Close() error {
	c.closed.Do(func() { c.counter.open.Add(-1) })
	return c.Conn.Close()
}
