package frames

import (
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// leaving is the state of a connection that ends without being cut, guarded by
// the relay's mutex.
type leaving struct {
	phase        phase
	asked        bool        // Drain has been called
	announced    bool        // the client knows the last request that is answered
	timer        *time.Timer // announces it where the client doesn't answer
	lastTaken    uint32      // identifier of the last taken request
	serverLeaves bool        // the server has sent GOAWAY
	serverDeaf   atomic.Bool // it takes nothing any more
	serverGone   bool        // it has closed its connection, and the client's goes on
	drained      chan struct{}
	dismissed    bool // Dismiss has been called
}

// phase is what a connection is.
type phase int

const (
	opening phase = iota // nothing yet
	framed               // HTTP/2
	raw                  // another protocol
)

const (
	// pingTimeout is how long a client may take to acknowledge a ping.
	pingTimeout = time.Second
	// closeTimeout bounds the closing of a connection without requests.
	closeTimeout = time.Second
)

// drainPing marks the ping whose acknowledgement shows that the client has read
// the first GOAWAY.
var drainPing = [pingLength]byte{'l', 'e', 'a', 'v', 'i', 'n', 'g', '!'}

// Drain lets the client end what it has begun and begin nothing more, and then ends
// the connection; Run returns. It says so in two steps, so that no request is lost
// that is on its way (RFC 9113, 6.8): one that it does not answer, the client knows
// to make again. It does not wait. Endless requests go on until Dismiss. A connection of
// another protocol takes nothing more from the client, and is closed soon.
//
// A client that has just connected is asked once it has got the server's settings:
// before those (RFC 9113, 3.4) it would take its attempt to connect for failed.
func (r *Relay) Drain() {
	r.mutex.Lock()
	again, phase := r.asked || r.failure != nil, r.phase
	r.asked = true
	if !again {
		r.timer = time.AfterFunc(pingTimeout, r.announce)
	}
	r.mutex.Unlock()
	switch {
	case again:
	case phase == framed:
		r.warn()
	case phase == raw:
		r.drainRaw()
	}
}

// warn is the first step. A client that knows already which request is the last one is
// told the same again.
func (r *Relay) warn() {
	ping := append(header{length: len(drainPing), kind: http2.FramePing}.append(nil), drainPing[:]...)
	go func() { // the client may not read
		if r.writeGoAway(func() (uint32, []byte) { return r.limit, ping }) != nil {
			r.fail(nil)
		}
	}()
}

// writeGoAway writes GOAWAY to the client, and what follows it. The identifier of the last
// request is chosen while nothing else can be written: it must never grow (RFC 9113, 6.8).
func (r *Relay) writeGoAway(choose func() (last uint32, more []byte)) error {
	r.awaitSettled()
	w := &r.clientWriter
	w.writing.Lock()
	defer w.writing.Unlock()
	r.mutex.Lock()
	last, more := choose()
	r.mutex.Unlock()
	return w.writeLocked(r.client, append(appendGoAway(nil, last, http2.ErrCodeNo, ""), more...))
}

// acknowledged reports whether a frame answers the ping of Drain, which the server
// has not sent.
func (r *Relay) acknowledged(f frame) bool {
	if !f.flags.Has(http2.FlagPingAck) || [8]byte(f.payload()) != drainPing {
		return false
	}
	r.mutex.Lock()
	asked := r.asked
	r.mutex.Unlock()
	if asked {
		r.announce()
	}
	return asked
}

// announce is the second step. A connection that is still at its beginning, or of another
// protocol, is cut.
func (r *Relay) announce() {
	r.mutex.Lock()
	if r.announced || r.failure != nil {
		r.mutex.Unlock()
		return
	}
	if r.phase != framed {
		r.mutex.Unlock()
		r.Close()
		return
	}
	r.announced = true
	if r.timer != nil {
		r.timer.Stop()
	}
	r.limit = min(r.limit, r.highest)
	r.mutex.Unlock()
	if r.writeGoAway(func() (uint32, []byte) { return r.limit, nil }) != nil {
		r.fail(nil)
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.checkLeft()
}

// mayOutlive reports whether the connection goes on for taken requests and queued answers
// although the server has closed its own: it has said that it would, and has answered all.
func (r *Relay) mayOutlive(err error) bool {
	r.mutex.Lock()
	outlives := errors.Is(err, ErrServerGone) && r.failure == nil && r.serverLeaves && len(r.taken)+r.sending > 0
	for _, s := range r.open {
		outlives = outlives && s.serverDone
	}
	accepting := r.limit > r.highest
	r.serverGone = outlives
	r.mutex.Unlock()
	if outlives && accepting { // requests that nothing would answer
		r.announce()
	}
	return outlives
}

// becomeRaw notes that the connection is of another protocol.
func (r *Relay) becomeRaw() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.phase = raw
	if r.asked {
		r.drainRaw()
	}
}
