package frames

import (
	"bufio"
	"context"
	"encoding/binary"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	readBuffer       = 32 << 10
	receiveWindow    = 1 << 20  // of each answer, in bytes
	connectionWindow = 16 << 20 // of all together
	// answerLimit bounds what is kept of an answer, in bytes. Clients of runtimes take
	// 16 MiB, and CRI-O sends 80 MiB at most.
	answerLimit = 128 << 20
)

// connection is a connection of a [Client].
type connection struct {
	conn   net.Conn
	framer *http2.Framer // reads
	ready  chan struct{} // closed when the server has sent its settings
	gone   chan struct{} // closed when the connection has failed

	writing sync.Mutex // and what is encoded in the order of writing
	encoder *encoder
	out     []byte

	mutex      sync.Mutex
	changed    *sync.Cond // the server's windows
	answers    map[uint32]*Answer
	next       uint32 // identifier
	window     int    // the server's for the connection
	initial    int    // the server's for each request
	maxFrame   int
	table      uint32 // the server's header table
	most       uint32 // requests that the server takes at once
	unreturned int    // bytes received that the server has not got back
	settled    bool   // ready is closed
	leaving    bool
	failure    error
}

func newConnection(conn net.Conn) *connection {
	c := &connection{
		conn:     conn,
		framer:   http2.NewFramer(nil, bufio.NewReaderSize(conn, readBuffer)),
		ready:    make(chan struct{}),
		gone:     make(chan struct{}),
		encoder:  newEncoder(),
		next:     1,
		answers:  map[uint32]*Answer{},
		window:   plainWindow,
		initial:  plainWindow,
		maxFrame: plainMaxFrame,
		table:    tableSize,
		most:     streamLimit,
	}
	c.changed = sync.NewCond(&c.mutex)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(tableSize, nil)
	c.framer.MaxHeaderListSize = listLimit
	c.framer.SetMaxReadFrameSize(plainMaxFrame)
	c.out = append(c.out, http2.ClientPreface...)
	c.out = header{length: 6, kind: http2.FrameSettings}.append(c.out)
	c.out = binary.BigEndian.AppendUint16(c.out, uint16(http2.SettingInitialWindowSize))
	c.out = binary.BigEndian.AppendUint32(c.out, receiveWindow)
	c.out = appendWindowUpdate(c.out, 0, connectionWindow-plainWindow)
	return c
}

// takes tells whether another request can be begun.
func (c *connection) takes() bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.takesMore()
}

// takesMore is takes with the mutex held. A connection that takes no more is left:
// it closes once it is idle.
func (c *connection) takesMore() bool {
	if c.failure != nil || c.leaving || c.next > streamMask || uint32(len(c.answers)) >= c.most {
		c.leaving = true
		c.closeIdle()
		return false
	}
	return true
}

// fail ends the connection and all requests on it; only the first time counts.
func (c *connection) fail(err error) {
	c.mutex.Lock()
	if c.failure != nil {
		c.mutex.Unlock()
		return
	}
	c.failure = err
	for id, answer := range c.answers {
		delete(c.answers, id)
		answer.finish(nil, err)
	}
	c.changed.Broadcast()
	close(c.gone)
	c.mutex.Unlock()
	_ = c.conn.Close()
}

// write writes whole frames, after what has waited for that.
func (c *connection) write(frames []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.out = append(c.out, frames...)
	return c.flush()
}

// respond writes what answers the server. That it takes no more is seen by who reads,
// after all that it has still said.
func (c *connection) respond(frames []byte) {
	if c.write(frames) != nil {
		_ = c.conn.SetReadDeadline(time.Now().Add(farewell))
	}
}

// flush is called with the writing lock held.
func (c *connection) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.conn.Write(c.out)
	if c.out = c.out[:0]; cap(c.out) > bufferMax {
		c.out = nil
	}
	return err
}

// begin sends a request.
func (c *connection) begin(ctx context.Context, request Request) (*Answer, error) {
	answer := &Answer{connection: c, stream: request.Stream, wake: make(chan struct{}, 1)}
	c.writing.Lock()
	rest, err := c.beginLocked(answer, request)
	if err == nil {
		if err := c.flush(); err != nil {
			// The server has not got all of it, and will never.
			c.writing.Unlock()
			c.fail(err)
			return nil, errLeaving
		}
	}
	c.writing.Unlock()
	if err == nil && len(rest) > 0 {
		if err = c.sendRest(ctx, answer, rest); err != nil {
			answer.Cancel()
		}
	}
	return answer, err
}

// beginLocked encodes a request as far as the server's windows allow, and returns
// the rest of its body. One that is to be sent as a whole is not begun where there would
// be a rest.
func (c *connection) beginLocked(answer *Answer, request Request) (rest []byte, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if !c.takesMore() {
		return nil, errLeaving
	}
	answer.id = c.next
	c.next += 2
	c.answers[answer.id] = answer
	answer.window = c.initial
	block := c.encoder.encode(nil, request.Fields, c.table)
	flags := http2.Flags(0)
	if len(request.Body) == 0 {
		flags = http2.FlagHeadersEndStream
	}
	c.out = appendBlock(c.out, answer.id, block, c.maxFrame, flags)
	n := min(len(request.Body), answer.window, c.window)
	if n <= 0 {
		return request.Body, nil
	}
	answer.window -= n
	c.window -= n
	c.out = appendData(c.out, answer.id, request.Body[:n], c.maxFrame, n == len(request.Body))
	return request.Body[n:], nil
}

// sendRest sends the rest of a body as the server makes room.
func (c *connection) sendRest(ctx context.Context, answer *Answer, rest []byte) error {
	defer context.AfterFunc(ctx, func() {
		c.mutex.Lock()
		defer c.mutex.Unlock()
		c.changed.Broadcast()
	})()
	for len(rest) > 0 {
		c.mutex.Lock()
		for min(c.window, answer.window) <= 0 && c.failure == nil && ctx.Err() == nil && !answer.done {
			c.changed.Wait()
		}
		n, failure, maxFrame := min(c.window, answer.window, len(rest)), c.failure, c.maxFrame
		done, complete := answer.done, answer.failure == nil
		if failure == nil && ctx.Err() == nil && !done {
			c.window -= n
			answer.window -= n
		}
		c.mutex.Unlock()
		switch {
		case done && complete: // without the rest, for which the server need not wait
			return c.write(appendReset(nil, answer.id, http2.ErrCodeCancel))
		case done:
			return nil // its reader learns why
		case failure != nil:
			return failure
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if err := c.write(appendData(nil, answer.id, rest[:n], maxFrame, n == len(rest))); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// closeIdle closes a connection that is left and has no request; the caller holds
// the mutex.
func (c *connection) closeIdle() {
	if c.leaving && len(c.answers) == 0 {
		_ = c.conn.Close() // run notices
	}
}
