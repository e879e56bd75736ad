package frames

import (
	"encoding/binary"
	"slices"

	"golang.org/x/net/http2"
)

// drainPing marks the ping whose acknowledgement shows that the client has read
// the first GOAWAY.
var drainPing = [pingLength]byte{'l', 'e', 'a', 'v', 'i', 'n', 'g', '!'}

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
	asked := r.drain.requested
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
	if r.drain.finalGoAway || r.failure != nil {
		r.mutex.Unlock()
		return
	}
	if r.phase != framed {
		r.mutex.Unlock()
		r.Close()
		return
	}
	r.drain.finalGoAway = true
	if r.drain.timer != nil {
		r.drain.timer.Stop()
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

// goAway passes GOAWAY on. Taken requests that the server does not know are not
// for the client to make again, so that the last identifier becomes theirs; what
// the server really leaves out below it is refused instead.
func (d *down) goAway(f frame) error {
	if f.length < 8 {
		return connectionError{http2.ErrCodeFrameSize, "GOAWAY too short"}
	}
	payload := f.payload()
	last := binary.BigEndian.Uint32(payload) & streamMask
	if err := d.flush(); err != nil {
		return err
	}
	// The identifier is chosen and written in one: it must never grow (RFC 9113, 6.8).
	w := &d.clientWriter
	w.writing.Lock()
	announced, refused, ended := d.limitTo(last)
	binary.BigEndian.PutUint32(payload, announced)
	frames := slices.Clone(f.bytes)
	for _, id := range refused {
		frames = appendReset(frames, id, http2.ErrCodeRefusedStream)
	}
	err := w.writeLocked(d.client, frames)
	w.writing.Unlock()
	for _, end := range ended {
		end(Outcome{End: ServerReset, Code: http2.ErrCodeRefusedStream})
	}
	return err
}

// limitTo notes that the server answers no request after last. It returns the last one that
// the client may expect an answer to, those below it that the server does not answer, and
// the functions of their observers.
func (d *down) limitTo(last uint32) (announced uint32, refused []uint32, ended []func(Outcome)) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.serverGoAway = true
	d.limit = min(d.limit, max(last, d.lastIntercepted))
	for id, s := range d.open {
		if id > last && id%2 == 1 {
			ended = append(ended, d.close(id))
			if !d.resetAfterQueue(s, http2.ErrCodeRefusedStream) && id <= d.limit {
				refused = append(refused, id)
			}
		}
	}
	return d.limit, refused, ended
}
