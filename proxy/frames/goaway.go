package frames

import (
	"encoding/binary"
	"slices"

	"golang.org/x/net/http2"
)

// drainPing is the payload of the ping that follows the first GOAWAY. Its acknowledgement
// shows that the client has read the GOAWAY.
var drainPing = [pingLength]byte{'l', 'e', 'a', 'v', 'i', 'n', 'g', '!'}

// sendFirstGoAway announces the shutdown without rejecting requests yet, and pings the
// client. A client that already knows its last request gets the same identifier again.
func (r *Relay) sendFirstGoAway() {
	ping := append(header{length: len(drainPing), kind: http2.FramePing}.append(nil), drainPing[:]...)
	go func() { // the client may not read
		if r.writeGoAway(func() (uint32, []byte) { return r.lastStreamID, ping }) != nil {
			r.fail(nil)
		}
	}()
}

// writeGoAway writes GOAWAY and the frames that follow it to the client. choose returns
// the last stream identifier; it is called while no other frame can be written, because
// the identifier must never grow (RFC 9113, 6.8).
func (r *Relay) writeGoAway(choose func() (last uint32, more []byte)) error {
	r.awaitServerSettings()
	w := &r.clientWriter
	w.mutex.Lock()
	defer w.mutex.Unlock()
	r.mutex.Lock()
	last, more := choose()
	r.mutex.Unlock()
	return w.writeLocked(r.client, append(appendGoAway(nil, last, http2.ErrCodeNo, ""), more...))
}

// acknowledgesDrain reports whether a frame acknowledges the ping of Drain, and then sends
// the final GOAWAY.
func (r *Relay) acknowledgesDrain(f frame) bool {
	if !f.flags.Has(http2.FlagPingAck) || [8]byte(f.payload()) != drainPing {
		return false
	}
	r.mutex.Lock()
	asked := r.drain.requested
	r.mutex.Unlock()
	if asked {
		r.sendFinalGoAway()
	}
	return asked
}

// sendFinalGoAway tells the client its last request, once. A connection that is not known
// to be HTTP/2 is closed.
func (r *Relay) sendFinalGoAway() {
	r.mutex.Lock()
	if r.drain.finalGoAwaySent || r.failure != nil {
		r.mutex.Unlock()
		return
	}
	if r.phase != framed {
		r.mutex.Unlock()
		r.Close()
		return
	}
	r.drain.finalGoAwaySent = true
	if r.drain.timer != nil {
		r.drain.timer.Stop()
	}
	r.lastStreamID = min(r.lastStreamID, r.maxClientStreamID)
	r.mutex.Unlock()
	if r.writeGoAway(func() (uint32, []byte) { return r.lastStreamID, nil }) != nil {
		r.fail(nil)
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.checkDrained()
}

// goAway forwards GOAWAY. Intercepted requests that the server does not know must not be
// repeated by the client, so the last stream identifier covers them. Relayed requests
// below it that the server does not answer are reset instead.
func (p *serverToClient) goAway(f frame) error {
	if f.length < 8 {
		return connectionError{http2.ErrCodeFrameSize, "GOAWAY too short"}
	}
	payload := f.payload()
	last := binary.BigEndian.Uint32(payload) & streamMask
	if err := p.flush(); err != nil {
		return err
	}
	// The identifier is chosen and written in one: it must never grow (RFC 9113, 6.8).
	w := &p.clientWriter
	w.mutex.Lock()
	announced, refused, ended := p.applyGoAway(last)
	binary.BigEndian.PutUint32(payload, announced)
	frames := slices.Clone(f.bytes)
	for _, id := range refused {
		frames = appendReset(frames, id, http2.ErrCodeRefusedStream)
	}
	err := w.writeLocked(p.client, frames)
	w.mutex.Unlock()
	for _, end := range ended {
		end(Outcome{End: ServerReset, Code: http2.ErrCodeRefusedStream})
	}
	return err
}

// applyGoAway notes that the server answers no request after last. It returns the last
// stream identifier for the client, the requests below it that the server does not answer,
// and their functions Plan.Ended.
func (p *serverToClient) applyGoAway(last uint32) (announced uint32, refused []uint32, ended []func(Outcome)) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.serverGoAway = true
	p.lastStreamID = min(p.lastStreamID, max(last, p.maxInterceptedID))
	for id, s := range p.relayed {
		if id > last && id%2 == 1 {
			ended = append(ended, p.closeStream(id))
			if !p.resetAfterQueue(s, http2.ErrCodeRefusedStream) && id <= p.lastStreamID {
				refused = append(refused, id)
			}
		}
	}
	return p.lastStreamID, refused, ended
}
