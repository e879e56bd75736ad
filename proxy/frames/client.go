package frames

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Client sends the requests of handlers to a server, over its own connections. Unlike other
// HTTP/2 clients, it sends header fields unchanged and returns those of the answer
// unchanged. It uses one connection, and opens another when each connection has reached the
// server's limit of concurrent streams. Its methods are safe for concurrent use.
type Client struct {
	dial    func(context.Context) (net.Conn, error)
	turn    chan struct{} // a semaphore of size 1: one request at a time looks for a place
	changed chan struct{} // of capacity 1; signals that a connection may have a place
	reading sync.WaitGroup

	mutex       sync.Mutex
	connections []*connection            // connections that accept requests, oldest first
	all         map[*connection]struct{} // all open connections, including those that only finish their requests
	closed      bool
}

const (
	// connectionLimit is the maximum number of connections that accept requests. If all are
	// full, requests wait.
	connectionLimit = 100
	// spareIdleTimeout is how long a connection without requests stays open if it was opened
	// beside another one.
	spareIdleTimeout = time.Second
)

// NewClient returns a client that connects to the server with dial. The caller must close
// it.
func NewClient(dial func(context.Context) (net.Conn, error)) *Client {
	return &Client{dial: dial, turn: make(chan struct{}, 1), changed: make(chan struct{}, 1), all: map[*connection]struct{}{}}
}

// Close ends all requests and closes the connections. It may be called more than once.
func (c *Client) Close() error {
	c.mutex.Lock()
	c.closed, c.connections = true, nil
	var all []*connection
	for connection := range c.all {
		all = append(all, connection)
	}
	c.mutex.Unlock()
	c.signal()
	for _, connection := range all {
		connection.fail(net.ErrClosed)
	}
	c.reading.Wait()
	return nil
}

// retryPause is the pause between two attempts to connect.
const retryPause = 50 * time.Millisecond

// Connect waits until the server has sent its HTTP/2 SETTINGS. It retries failed connections
// until ctx is done, and then returns the error of ctx. After Close it returns
// [net.ErrClosed].
func (c *Client) Connect(ctx context.Context) error {
	for {
		connection, err := c.reserve(ctx)
		if err == nil {
			connection.release()
			select {
			case <-connection.ready:
				return nil
			case <-connection.failed:
			case <-ctx.Done():
				return ctx.Err()
			}
		} else if errors.Is(err, net.ErrClosed) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryPause):
		}
	}
}

// reserve reserves a place for one request and returns its connection. begin or release
// frees the place. Concurrent calls get places one after another. If no connection is open
// and dial fails, reserve returns the error of dial.
func (c *Client) reserve(ctx context.Context) (*connection, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		found, full, err := c.pick()
		if found != nil || err != nil {
			return found, err
		}
		if full {
			select {
			case <-c.changed:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			continue
		}
		if err := c.open(ctx); err != nil {
			return nil, err
		}
	}
}

// pick reserves a place on the oldest connection that has one. full reports whether no
// further connection may be opened now.
func (c *Client) pick() (found *connection, full bool, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.closed {
		return nil, false, net.ErrClosed
	}
	live := c.connections[:0]
	for _, connection := range c.connections {
		place := placesFull
		if found == nil {
			place = connection.reserve()
		}
		switch place {
		case placeClosed:
			continue
		case placeReserved:
			found = connection
		case placeUnknown:
			full = true // the connection may soon have places
		}
		live = append(live, connection)
	}
	clear(c.connections[len(live):])
	c.connections = live
	return found, full || len(live) >= connectionLimit, nil
}

// open opens another connection. If dial fails while other connections are open, open
// returns nil after a pause, and the caller looks for a place again.
func (c *Client) open(ctx context.Context) error {
	conn, err := c.dial(ctx)
	if err == nil {
		return c.add(conn)
	}
	if c.count() == 0 || ctx.Err() != nil {
		return err
	}
	select {
	case <-c.changed:
	case <-time.After(retryPause):
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// count returns the number of connections that accepted requests when pick last checked.
func (c *Client) count() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return len(c.connections)
}

// add runs a new connection. If others are open, the new one is closed when it is idle.
func (c *Client) add(conn net.Conn) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.closed {
		_ = conn.Close()
		return net.ErrClosed
	}
	made := newConnection(conn, c.signal, len(c.connections) > 0)
	c.connections = append(c.connections, made)
	c.all[made] = struct{}{}
	c.reading.Go(func() {
		made.run()
		c.mutex.Lock()
		defer c.mutex.Unlock()
		delete(c.all, made)
	})
	return nil
}

// signal makes the request that waits for a place look for one again.
func (c *Client) signal() {
	select {
	case c.changed <- struct{}{}:
	default: // a signal is already pending
	}
}
