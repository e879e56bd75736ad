package frames

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	readBuffer       = 32 << 10
	receiveWindow    = 1 << 20  // flow-control window of each answer, in bytes
	connectionWindow = 16 << 20 // flow-control window of the connection, in bytes
	// answerLimit is the maximum size of an answer's body, in bytes. Clients of runtimes
	// accept 16 MiB, and CRI-O sends at most 80 MiB.
	answerLimit = 128 << 20
)

// connection is a connection of a [Client].
type connection struct {
	conn   net.Conn
	framer *http2.Framer // reads frames; frames are written without it
	ready  chan struct{} // closed when the server has sent its SETTINGS
	failed chan struct{} // closed when failure is set

	writeMutex sync.Mutex // guards the writes and the fields down to draining; locked before mutex
	encoder    *encoder
	out        []byte
	// draining is set while drain writes. Other goroutines then only append to out.
	draining bool
	drains   sync.WaitGroup

	signal func() // called when the connection may have a place for a request
	spare  bool   // closed after spareIdleTimeout without a request

	mutex                sync.Mutex // guards the fields below and the answers
	changed              *sync.Cond // signals changes of windows, of stalled and of failure
	answers              map[uint32]*Answer
	reserved             int         // places of requests that have not begun
	idle                 *time.Timer // closes a spare connection
	nextStreamID         uint32
	window               window // the server's window for the connection
	initialWindow        int    // the server's SETTINGS_INITIAL_WINDOW_SIZE
	maxFrame             int    // longest frame that the connection sends
	headerTableSize      uint32 // size of the HPACK table that the server allows
	maxConcurrentStreams int    // the server's SETTINGS_MAX_CONCURRENT_STREAMS
	inflow               inflow // counts the DATA of the connection
	settingsReceived     bool   // ready is closed
	stalled              bool   // the server does not read
	goingAway            bool
	failure              error
}

func newConnection(conn net.Conn, signal func(), spare bool) *connection {
	c := &connection{
		conn:                 conn,
		framer:               http2.NewFramer(nil, bufio.NewReaderSize(conn, readBuffer)),
		ready:                make(chan struct{}),
		failed:               make(chan struct{}),
		signal:               signal,
		spare:                spare,
		encoder:              newEncoder(),
		nextStreamID:         1,
		answers:              map[uint32]*Answer{},
		window:               window{size: defaultWindow},
		initialWindow:        defaultWindow,
		maxFrame:             defaultMaxFrame,
		headerTableSize:      defaultTableSize,
		maxConcurrentStreams: streamLimit,
		inflow:               inflow{limit: connectionWindow / 2},
	}
	c.changed = sync.NewCond(&c.mutex)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(defaultTableSize, nil)
	c.framer.MaxHeaderListSize = listLimit
	c.framer.SetMaxReadFrameSize(defaultMaxFrame)
	c.out = append(c.out, http2.ClientPreface...)
	c.out = header{length: 6, kind: http2.FrameSettings}.append(c.out)
	c.out = binary.BigEndian.AppendUint16(c.out, uint16(http2.SettingInitialWindowSize))
	c.out = binary.BigEndian.AppendUint32(c.out, receiveWindow)
	c.out = appendWindowUpdate(c.out, 0, connectionWindow-defaultWindow)
	return c
}

// run handles the server's frames until the connection ends.
func (c *connection) run() {
	c.respond(nil) // flushes the preface
	var err error
	for err == nil {
		var f http2.Frame
		if f, err = c.framer.ReadFrame(); err == nil {
			err = c.frame(f)
		} else if problem, ok := errors.AsType[http2.StreamError](err); ok {
			c.respond(appendReset(nil, problem.StreamID, problem.Code))
			c.end(problem.StreamID, nil, problem)
			err = nil
		} else if _, ok := errors.AsType[http2.ConnectionError](err); !ok {
			err = fmt.Errorf("%w: %w", ErrServerDisconnected, err)
		}
	}
	c.fail(err)
	c.drains.Wait()
}

func (c *connection) frame(f http2.Frame) error {
	id := f.Header().StreamID
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		c.headers(f)
	case *http2.DataFrame:
		c.data(f)
	case *http2.RSTStreamFrame:
		if f.ErrCode == http2.ErrCodeRefusedStream {
			c.end(id, nil, ErrRefused)
		} else {
			c.end(id, nil, ResetError{f.ErrCode})
		}
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			pong := header{length: len(f.Data), kind: http2.FramePing, flags: http2.FlagPingAck}.append(nil)
			c.respond(append(pong, f.Data[:]...))
		}
	case *http2.WindowUpdateFrame:
		c.mutex.Lock()
		if id == 0 {
			c.window.add(int(f.Increment))
		} else if answer := c.answers[id]; answer != nil {
			answer.window.add(int(f.Increment))
		}
		c.changed.Broadcast()
		c.mutex.Unlock()
	case *http2.GoAwayFrame:
		c.goAway(f.LastStreamID)
	}
	return nil
}

func (c *connection) headers(f *http2.MetaHeadersFrame) {
	if f.Truncated {
		c.refuse(f.StreamID)
		return
	}
	if f.StreamEnded() {
		c.end(f.StreamID, f.Fields, nil)
		return
	}
	if strings.HasPrefix(f.PseudoValue("status"), "1") {
		return // an interim answer; the final header block follows (RFC 9110, 15.2)
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if answer := c.answers[f.StreamID]; answer != nil && answer.header == nil {
		answer.header = f.Fields
		answer.notify()
	}
}

// data appends DATA to the body of its answer. If Request.Stream is not set, the server gets
// credit at once. Otherwise it gets credit for the stream when Receive reads the body.
func (c *connection) data(f *http2.DataFrame) {
	var out []byte
	c.mutex.Lock()
	answer := c.answers[f.StreamID]
	c.inflow.receive(int(f.Length))
	out = c.inflow.appendCredit(out, 0)
	tooLarge := false
	if answer != nil {
		answer.body = append(answer.body, f.Data()...)
		answer.inflow.receive(int(f.Length))
		tooLarge = len(answer.body) > answerLimit
		if !answer.stream && !f.StreamEnded() {
			out = answer.inflow.appendCredit(out, answer.id)
		}
		answer.notify()
	}
	c.mutex.Unlock()
	switch {
	case tooLarge:
		c.refuse(f.StreamID)
	case f.StreamEnded():
		c.end(f.StreamID, nil, nil)
	}
	if len(out) > 0 {
		c.respond(out)
	}
}

// refuse cancels a request because its answer exceeds a limit.
func (c *connection) refuse(id uint32) {
	c.respond(appendReset(nil, id, http2.ErrCodeCancel))
	c.end(id, nil, ErrAnswerTooLarge)
}

// end removes a request and completes its answer.
func (c *connection) end(id uint32, trailer []hpack.HeaderField, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	answer := c.answers[id]
	if answer == nil {
		return
	}
	delete(c.answers, id)
	answer.finish(trailer, err)
	c.changed.Broadcast()
	c.placeFreed()
}

func (c *connection) goAway(last uint32) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.goingAway = true
	for id, answer := range c.answers {
		if id > last {
			delete(c.answers, id)
			answer.finish(nil, ErrRefused)
		}
	}
	c.changed.Broadcast()
	c.placeFreed()
}

// fail ends the connection and all requests on it with err. Only the first call has an
// effect.
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
	close(c.failed)
	c.mutex.Unlock()
	c.signal()
	_ = c.conn.Close()
}
