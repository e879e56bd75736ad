package frames

import (
	"encoding/binary"
	"slices"

	"golang.org/x/net/http2"
)

// drainPing is the payload of the PING that follows the first GOAWAY. Its acknowledgement
// shows that the client has read the GOAWAY.
var drainPing = [pingLength]byte{'l', 'e', 'a', 'v', 'i', 'n', 'g', '!'}

// sendFirstGoAway sends GOAWAY, which does not reject requests yet, and PING. The last stream
// identifier is that of an earlier GOAWAY of the server, or the largest possible one.
func (r *Relay) sendFirstGoAway() {
	ping := append(header{length: len(drainPing), kind: http2.FramePing}.append(nil), drainPing[:]...)
	go func() { // the write may block
		if r.writeGoAway(func() (uint32, []byte) { return r.lastStreamID, ping }) != nil {
			r.fail(nil)
		}
	}()
}

// writeGoAway writes GOAWAY to the client, followed by more frames. choose returns the last
// stream identifier and these frames. It is called while no other frame can be written,
// because the identifier of successive GOAWAY frames must not increase (RFC 9113, 6.8).
// Relay.mutex is held during the call.
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

// acknowledgesDrain reports whether a frame acknowledges the PING of Drain. If so, it sends
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

// sendFinalGoAway sends GOAWAY with the last stream that the client has opened. Only the
// first call has an effect. If the connection is not HTTP/2, or not known to be, it is closed
// instead.
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

// goAway forwards GOAWAY from the server.
//
// For example, the server names stream 3 as the last one. Stream 5 is relayed, and stream 7
// is intercepted. The client must not retry stream 7, because a handler answers it. The
// client therefore gets 7 as the last stream, and a reset with REFUSED_STREAM for stream 5.
func (p *serverToClient) goAway(f frame) error {
	if f.length < 8 {
		return connectionError{http2.ErrCodeFrameSize, "GOAWAY frame is too short"}
	}
	payload := f.payload()
	last := binary.BigEndian.Uint32(payload) & streamMask
	if err := p.flush(); err != nil {
		return err
	}
	// clientWriter.mutex is held from here to the write, because the identifier of successive
	// GOAWAY frames must not increase (RFC 9113, 6.8).
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

// applyGoAway records that the server answers no stream after last, and closes the relayed
// streams after it. announced is the last stream identifier for the client. refused are the
// closed streams up to announced, which the caller must reset. They do not include streams
// with a queue, because their reset is queued. ended are the functions Plan.Ended of all
// closed streams.
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
