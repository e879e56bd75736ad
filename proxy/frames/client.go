package frames

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
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
	// spareIdle is how long a further connection is kept without a request.
	spareIdle = time.Second
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
			case <-connection.gone:
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
		place := noPlace
		if found == nil {
			place = connection.reserve()
		}
		switch place {
		case gonePlace:
			continue
		case takenPlace:
			found = connection
		case unknownPlace:
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

// Request is one that a [Client] makes. Its body is known as a whole.
type Request struct {
	Fields []hpack.HeaderField
	Body   []byte
	// Stream says that the answer is to be read as it comes. Otherwise it is kept
	// until it is complete.
	Stream bool
}

// Do makes a request and returns its answer: as soon as its first header fields have
// come if the request is for a stream, otherwise when it is complete. An answer that
// is a stream must be read to its end or cancelled.
//
// A request that the server has not taken (RFC 9113, 8.7) is made again, after a pause,
// until ctx is done. If there is no server the error is the dial's.
func (c *Client) Do(ctx context.Context, request Request) (*Answer, error) {
	for pause := refusedPause; ; pause = min(2*pause, refusedPauseMost) {
		answer, err := c.begin(ctx, request)
		if err != nil || !answer.refused(ctx) {
			return answer, err
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)): // requests refused at once are not repeated at once
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// The pauses before a refused request is made again.
const (
	refusedPause     = 5 * time.Millisecond
	refusedPauseMost = 500 * time.Millisecond
)

// begin begins a request, on a new connection if the first one takes no more.
func (c *Client) begin(ctx context.Context, request Request) (*Answer, error) {
	for range attempts {
		connection, err := c.reserve(ctx)
		if err != nil {
			return nil, err
		}
		answer, err := connection.begin(ctx, request)
		if !errors.Is(err, errLeaving) {
			return answer, err
		}
	}
	return nil, ErrServerGone // each time at once
}

// attempts bounds the connections that fail while one request is sent.
const attempts = 3

// ResetError says that the server has reset a request.
type ResetError struct{ Code http2.ErrCode }

func (e ResetError) Error() string {
	return fmt.Sprintf("the server has reset the request: %v", e.Code)
}

// ErrRefused says that the server has not taken a request, so that it can be made
// again.
var ErrRefused = errors.New("the server has not taken the request")

// ErrAnswerTooLarge says that the server has sent more than is kept of an answer.
var ErrAnswerTooLarge = fmt.Errorf("the answer is larger than %d bytes, or its header fields than %d", answerLimit, listLimit)

// errLeaving says that a connection takes no more requests.
var errLeaving = errors.New("the connection takes no more requests")
