package frames

import (
	"bufio"
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
	window     window      // the server's for the connection
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
		window:   window{size: plainWindow},
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

// closeIdle closes a connection that takes no more requests and has none; the caller
// holds the mutex.
func (c *connection) closeIdle() {
	if !c.takes() && len(c.answers)+c.reserved == 0 {
		_ = c.conn.Close() // run notices
	}
}
