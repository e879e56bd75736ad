package frames

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Client makes requests to a server for handlers, over connections of its own. It
// sends header fields unchanged and returns those of the answer unchanged, which no
// library's client does. It uses one connection, and more only while the server's limit
// of concurrent requests is reached on each. Its methods are safe for concurrent use.
type Client struct {
	dial    func(context.Context) (net.Conn, error)
	turn    chan struct{} // of one: held by the request that is next to get a place
	changed chan struct{} // of one: a connection may have a place now
	reading sync.WaitGroup

	mutex       sync.Mutex
	connections []*connection            // those that take requests, the oldest first
	all         map[*connection]struct{} // and those that finish their requests
	closed      bool
}

const (
	// connectionLimit bounds the connections that take requests. Requests beyond what
	// they have room for are queued.
	connectionLimit = 100
	// spareIdleTimeout is how long a further connection is kept without a request.
	spareIdleTimeout = time.Second
)

// NewClient prepares a client, which must be closed. dial connects it with the server.
func NewClient(dial func(context.Context) (net.Conn, error)) *Client {
	return &Client{dial: dial, turn: make(chan struct{}, 1), changed: make(chan struct{}, 1), all: map[*connection]struct{}{}}
}

// Close ends all requests and closes the connections. Closing twice is fine.
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

// retryPause is between two attempts to connect.
const retryPause = 50 * time.Millisecond

// Connect waits until the server has answered as an HTTP/2 server, or until ctx is
// done, whose error it returns.
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

// reserve returns a connection with a place for one request, which begin or release
// uses up. It waits in the order of the calls until there is one. If there is no
// connection and none can be made, the error is the dial's.
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

// pick reserves a place on the oldest connection that has one. full reports that no
// other connection may be opened at the moment.
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
			full = true // it may have places as soon as the server sends its settings, or reads
		}
		live = append(live, connection)
	}
	clear(c.connections[len(live):])
	c.connections = live
	return found, full || len(live) >= connectionLimit, nil
}

// open opens another connection. While there are others, a failure to do so is no
// error: the caller looks for a place again after a pause.
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

// count returns the number of connections that take requests, or did lately.
func (c *Client) count() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return len(c.connections)
}

// add runs a connection. One beside others is closed when it is not used.
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

// signal makes the request whose turn it is look for a place again.
func (c *Client) signal() {
	select {
	case c.changed <- struct{}{}:
	default: // it has not looked yet
	}
}
