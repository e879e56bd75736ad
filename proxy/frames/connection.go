package frames

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
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
	// draining reports that drain writes, and others only append to out.
	draining bool
	drains   sync.WaitGroup

	signal func() // is called when a request may have got a place
	spare  bool   // it is closed after a while without a request

	mutex      sync.Mutex
	changed    *sync.Cond // the server's windows
	answers    map[uint32]*Answer
	reserved   int         // places for requests that have not begun
	idle       *time.Timer // closes a spare connection
	next       uint32      // identifier
	window     int         // the server's for the connection
	initial    int         // the server's for each request
	maxFrame   int
	table      uint32 // the server's header table
	most       int    // requests that the server takes at once
	unreturned int    // bytes received that the server has not got back
	settled    bool   // ready is closed
	stalled    bool   // the server does not read
	leaving    bool
	failure    error
}

func newConnection(conn net.Conn, signal func(), spare bool) *connection {
	c := &connection{
		conn:     conn,
		framer:   http2.NewFramer(nil, bufio.NewReaderSize(conn, readBuffer)),
		ready:    make(chan struct{}),
		gone:     make(chan struct{}),
		signal:   signal,
		spare:    spare,
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

// place is the outcome of a reservation.
type place int

const (
	noPlace      place = iota // the server's limit is reached
	takenPlace                // reserved
	unknownPlace              // the server has yet to send its settings, with its limit, or does not read
	gonePlace                 // the connection takes no more requests
)

// reserve reserves a place for a request. Before the server has sent its settings there
// is one place.
func (c *connection) reserve() place {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	taken := len(c.answers) + c.reserved
	switch {
	case !c.takes():
		c.closeIdle()
		return gonePlace
	case !c.settled && taken > 0 || c.stalled:
		return unknownPlace
	case c.settled && taken >= c.most:
		return noPlace
	}
	c.reserved++
	if c.idle != nil {
		c.idle.Stop()
	}
	return takenPlace
}

// release gives a reserved place up.
func (c *connection) release() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.reserved--
	c.vacated()
}

// vacated is called with the mutex held when a request has ended, or will not begin.
func (c *connection) vacated() {
	c.signal()
	if c.closeIdle(); c.spare && c.takes() && len(c.answers)+c.reserved == 0 {
		c.idle = time.AfterFunc(spareIdle, c.retire)
	}
}

// retire leaves the connection if it has no request.
func (c *connection) retire() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if len(c.answers)+c.reserved == 0 {
		c.leaving = true
		c.closeIdle()
	}
}

// takes reports whether another request can be begun once there is a place for it. The
// caller holds the mutex.
func (c *connection) takes() bool {
	return c.failure == nil && !c.leaving && c.next <= streamMask
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
	if c.idle != nil {
		c.idle.Stop()
	}
	c.changed.Broadcast()
	close(c.gone)
	c.mutex.Unlock()
	c.signal()
	_ = c.conn.Close()
}

// write writes whole frames, after what has waited for that.
func (c *connection) write(frames []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.out = append(c.out, frames...)
	return c.flush()
}

// respond writes an answer to the server's frames.
func (c *connection) respond(frames []byte) { c.responded(c.write(frames)) }

// responded is called with the outcome of writing an answer to the server's frames. After
// a failure the reader still gets what the server has sent before.
func (c *connection) responded(err error) {
	if err != nil {
		_ = c.conn.SetReadDeadline(time.Now().Add(closeTimeout))
	}
}

// flush is called with the writing lock held. It does not wait for a server that does not
// read: what is left is written by drain, and no request begins until then.
func (c *connection) flush() error {
	if len(c.out) == 0 || c.draining {
		return c.checkBacklog()
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	n, err := c.conn.Write(c.out)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.out = c.out[n:]
		c.draining = true
		c.stall(true)
		c.drains.Go(c.drain)
		return nil
	}
	if c.out = c.out[:0]; cap(c.out) > bufferMax {
		c.out = nil
	}
	return err
}

const (
	writeTimeout = 20 * time.Millisecond
	backlogLimit = 4 << 20 // of what a server does not read, in bytes
)

// checkBacklog bounds what is kept for a server that sends and does not read.
func (c *connection) checkBacklog() error {
	if len(c.out) > backlogLimit {
		_ = c.conn.Close() // run notices
		return net.ErrClosed
	}
	return nil
}

// drain writes what a server has not taken in time.
func (c *connection) drain() {
	_ = c.conn.SetWriteDeadline(time.Time{})
	for {
		c.writing.Lock()
		out := c.out
		c.out = nil
		c.draining = len(out) > 0
		c.writing.Unlock()
		if len(out) == 0 {
			c.stall(false)
			return
		}
		if _, err := c.conn.Write(out); err != nil {
			c.responded(err)
			return
		}
	}
}

// stall notes whether the server does not read.
func (c *connection) stall(stalled bool) {
	c.mutex.Lock()
	c.stalled = stalled
	c.changed.Broadcast()
	c.mutex.Unlock()
	c.signal()
}

// begin sends a request in a reserved place.
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
			answer.cancel(err)
		}
	}
	return answer, err
}

// beginLocked encodes a request as far as the server's windows allow, and returns
// the rest of its body. The caller holds the writing lock.
func (c *connection) beginLocked(answer *Answer, request Request) (rest []byte, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.reserved--
	if !c.takes() {
		c.closeIdle()
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
	return request.Body[c.appendPiece(answer, request.Body):], nil
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
		for (c.stalled || min(c.window, answer.window) <= 0) && c.failure == nil && ctx.Err() == nil && !answer.done {
			c.changed.Wait()
		}
		failure, done, complete := c.failure, answer.done, answer.failure == nil
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
		n, err := c.sendPiece(answer, rest)
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// sendPiece sends as much of a body as the windows allow, and returns its length. No
// acknowledgement of settings goes out between the use of a window and the data.
func (c *connection) sendPiece(answer *Answer, rest []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mutex.Lock()
	n := 0
	if !answer.done {
		n = c.appendPiece(answer, rest)
	}
	c.mutex.Unlock()
	return n, c.flush()
}

// appendPiece is sendPiece without the writing. The caller holds both locks.
func (c *connection) appendPiece(answer *Answer, body []byte) int {
	n := max(0, min(c.window, answer.window, len(body)))
	if n > 0 {
		c.window -= n
		answer.window -= n
		c.out = appendData(c.out, answer.id, body[:n], c.maxFrame, n == len(body))
	}
	return n
}

// closeIdle closes a connection that takes no more requests and has none; the caller
// holds the mutex.
func (c *connection) closeIdle() {
	if !c.takes() && len(c.answers)+c.reserved == 0 {
		_ = c.conn.Close() // run notices
	}
}
