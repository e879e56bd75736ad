package frames

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Client makes requests to a server, over one connection of its own that it opens
// when there is none: it is what handlers ask the server with. It sends header fields
// as they are and returns those of the answer as they came, which no library's client
// does, and it dials again at once where the server is back. Its methods are safe for
// concurrent use.
type Client struct {
	dial    func(context.Context) (net.Conn, error)
	dialing chan struct{} // of one: held by the one who dials
	reading sync.WaitGroup

	mutex      sync.Mutex
	connection *connection
	all        map[*connection]struct{} // those that are going away, too
	closed     bool
}

// NewClient prepares a client, which must be closed. dial connects it with the server.
func NewClient(dial func(context.Context) (net.Conn, error)) *Client {
	return &Client{dial: dial, dialing: make(chan struct{}, 1), all: map[*connection]struct{}{}}
}

// Close ends all requests and closes the connections. Closing twice is fine.
func (c *Client) Close() error {
	c.mutex.Lock()
	c.closed, c.connection = true, nil
	var all []*connection
	for connection := range c.all {
		all = append(all, connection)
	}
	c.mutex.Unlock()
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
		connection, err := c.connect(ctx)
		if err == nil {
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

// connect returns the connection, a new one where there is none.
func (c *Client) connect(ctx context.Context) (*connection, error) {
	if current, err := c.current(); current != nil || err != nil {
		return current, err
	}
	select {
	case c.dialing <- struct{}{}:
		defer func() { <-c.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if current, err := c.current(); current != nil || err != nil { // somebody else's
		return current, err
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	made := newConnection(conn)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	c.connection = made
	c.all[made] = struct{}{}
	c.reading.Go(func() {
		made.run()
		c.mutex.Lock()
		defer c.mutex.Unlock()
		delete(c.all, made)
	})
	return made, nil
}

// current is the connection that takes requests; nil if there is none.
func (c *Client) current() (*connection, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.closed {
		return nil, net.ErrClosed
	}
	if c.connection != nil && !c.connection.takes() {
		c.connection = nil
	}
	return c.connection, nil
}

// Request is one that a [Client] makes. Its body is known as a whole.
type Request struct {
	Fields []hpack.HeaderField
	Body   []byte
	// Stream says that the answer is to be read as it comes. Otherwise it is kept
	// until it is complete.
	Stream bool
}

// Do begins a request and returns its answer, which must be read to its end or
// cancelled. A request that a connection did not take any more is made again on a
// new one. Where there is no server the error is the dial's.
func (c *Client) Do(ctx context.Context, request Request) (*Answer, error) {
	for range attempts {
		connection, err := c.connect(ctx)
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

// attempts bounds the connections that are opened for one request.
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
