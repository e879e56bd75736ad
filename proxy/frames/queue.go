package frames

import (
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// segment is a part of an answer to be written to the client: DATA, a header block or
// RST_STREAM.
type segment struct {
	data       []byte
	fromServer bool                // the server sent the data, which counts as held in the windows
	fields     []hpack.HeaderField // fields of a header block
	end        bool                // ends the stream
	resetAfter bool                // RST_STREAM follows, since the rest of the request is not needed (RFC 9113, 8.1)
	withCredit bool                // the pending credit of the client's connection follows
	restore    bool                // the answer must be restored first; it ends with fields
	reset      bool                // RST_STREAM with resetCode
	resetCode  http2.ErrCode
}

// sendLimit limits one write of a queue to roughly this number of bytes, so that other streams
// get a share of the client's connection window.
const sendLimit = 64 << 10

// enqueue appends segments to the queue of a stream. A goroutine sends the queue, so that an
// answer that cannot be written now does not block other streams. enqueue starts it if it
// does not run. When the queue is empty, the goroutine ends, and frames of the stream are
// forwarded directly again.
func (p *serverToClient) enqueue(s *stream, segments ...segment) error {
	p.mutex.Lock()
	for _, segment := range segments {
		p.reencoding = p.reencoding || segment.fields != nil // sent out of order
		if s.closed {
			p.dropSegment(segment)
		}
	}
	start := !s.sending && !s.closed && p.failure == nil
	if !s.closed {
		s.queue = append(s.queue, segments...)
	}
	if start {
		s.sending = true
		p.sendingQueues++
	}
	p.returnUrgentCredit(nil)
	p.changed.Broadcast()
	p.mutex.Unlock()
	if !start {
		return nil
	}
	err := p.flush() // writes the earlier frames of the stream first
	p.handlers.Go(func() { p.sendQueue(s) })
	return err
}

// sendQueue sends the queue of a stream as the client grants credit.
func (r *Relay) sendQueue(s *stream) {
	for {
		next, ok := r.nextSegment(s)
		switch {
		case !ok:
			return
		case next.restore:
			r.restoreQueued(s, next.fields)
			continue
		}
		ended, err := r.writeQueue(s.id, &s.queue, &s.window, s)
		if err != nil {
			r.fail(nil)
		}
		if ended {
			r.queueSent(s, err == nil)
		}
	}
}

// nextSegment waits until the first segment of a stream's queue can be written, and returns
// it. It reports false if the queue is empty or the connection has ended. The goroutine must
// end then.
func (r *Relay) nextSegment(s *stream) (segment, bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for r.failure == nil && len(s.queue) > 0 {
		next := s.queue[0]
		if next.restore {
			s.queue = s.queue[1:]
		}
		if next.hasRoom(&s.window) {
			return next, true
		}
		r.changed.Wait()
	}
	s.sending = false
	r.sendingQueues--
	r.checkDrained()
	return segment{}, false
}

// hasRoom reports whether the windows allow writing a segment, or a part of it, now. The
// caller holds the mutex.
func (s segment) hasRoom(stream *relayWindow) bool {
	return len(s.data) == 0 || stream.available() > 0
}

// writeQueue writes segments of a queue as far as the client's windows allow, and removes
// them from the queue. It reports whether it wrote the end of the stream.
//
// For example, the client reduces its window, and the server acknowledges this. DATA that
// follows the acknowledgement must fit into the smaller window (RFC 9113, 6.9.2). writeQueue
// therefore takes bytes from the windows while nothing else can be written to the client.
//
// of is the relayed stream of the queue, or nil. Before its end is written, writeQueue moves
// Plan.Ended to stream.ended for queueSent: the client may reset the stream or disconnect as
// soon as it has read the end, before queueSent runs.
func (r *Relay) writeQueue(id uint32, queue *[]segment, stream *relayWindow, of *stream) (ended bool, err error) {
	r.awaitServerSettings()
	w := &r.clientWriter
	w.mutex.Lock()
	defer w.mutex.Unlock()
	r.mutex.Lock()
	frames := w.buffer[:0]
	for len(*queue) > 0 && !ended && len(frames) < sendLimit {
		next := &(*queue)[0]
		if next.restore || !next.hasRoom(stream) {
			break
		}
		var part segment
		part, *queue = r.takeSegment(*queue, stream)
		frames = part.append(frames, id, r.clientSettings.maxFrame)
		ended = part.end
		if part.withCredit {
			frames = r.flow.appendClientCredit(frames)
		}
	}
	if ended && of != nil {
		of.ended, of.plan.Ended = of.plan.Ended, nil
	}
	r.changed.Broadcast()
	r.mutex.Unlock()
	if w.buffer = frames; cap(frames) > bufferMax {
		w.buffer = nil
	}
	if len(frames) == 0 {
		return ended, nil
	}
	return ended, w.writeLocked(r.client, frames)
}

// takeSegment removes as much of a queue's first segment as the windows allow, and takes the
// bytes from the windows. It returns this part and the rest of the queue. The caller holds
// the mutex.
func (r *Relay) takeSegment(queue []segment, stream *relayWindow) (part segment, rest []segment) {
	part = queue[0]
	n := min(len(part.data), sendLimit, stream.available())
	switch {
	case len(part.data) == 0:
		return part, queue[1:]
	case part.fromServer:
		stream.pass(n)
	default:
		stream.inject(n)
	}
	r.pings.wroteQueue = true
	r.releaseBuffered(n)
	if n == len(part.data) {
		return part, queue[1:]
	}
	part.data, part.end = part.data[:n], false
	queue[0].data = queue[0].data[n:]
	return part, queue
}

// append appends the frames of a segment.
func (s segment) append(b []byte, id uint32, maxFrame int) []byte {
	switch {
	case s.reset:
		return appendReset(b, id, s.resetCode)
	case s.fields == nil:
		return appendData(b, id, s.data, maxFrame, s.end)
	}
	var flags http2.Flags
	if s.end {
		flags = http2.FlagHeadersEndStream
	}
	b = appendBlock(b, id, appendLiterals(nil, s.fields), injectedMaxFrame, flags)
	if s.resetAfter {
		b = appendReset(b, id, http2.ErrCodeNo)
	}
	return b
}

// queueSent is called when the complete answer of a stream has been written to the client, or
// when the connection has ended during the write of its end.
func (r *Relay) queueSent(s *stream, written bool) {
	r.mutex.Lock()
	outcome := Outcome{End: Complete, Fields: s.trailer}
	if !written {
		outcome = outcomeOf(r.failure)
	}
	ended := s.ended
	s.endQueued, s.ended = false, nil
	if s.clientDone && !s.closed {
		delete(r.relayed, s.id)
		r.checkDrained()
	}
	r.mutex.Unlock()
	if ended != nil {
		ended(outcome)
	}
}

// discardStream closes a stream. It cancels the restorer, and drops the queue and the
// collected answer. The caller holds the mutex.
func (r *Relay) discardStream(s *stream) {
	s.closed = true
	for _, segment := range s.queue {
		r.dropSegment(segment)
	}
	s.queue = nil
	if a := s.restoration; a != nil {
		if a.cancel != nil {
			a.cancel()
		}
		r.buffered -= len(a.body) + len(a.request)
		a.request, a.body, a.collecting = nil, nil, false
	}
	delete(r.credit.urgent, s)
	r.returnUrgentCredit(nil)
	r.changed.Broadcast()
}

// dropSegment releases the memory of a segment that is not sent, and its bytes in the window
// of the connection. The window of its stream is no longer used. The caller holds the mutex.
func (r *Relay) dropSegment(s segment) {
	r.buffered -= len(s.data)
	if s.fromServer {
		r.flow.toClient.absorb(len(s.data))
	}
}

// resetAfterQueue adds RST_STREAM to the end of a stream's queue, so that no queued frame
// follows the reset. It reports false, and does nothing, if no goroutine sends the queue. The
// caller holds the mutex.
func (r *Relay) resetAfterQueue(s *stream, code http2.ErrCode) bool {
	if s.sending {
		s.queue = append(s.queue, segment{reset: true, resetCode: code})
		r.changed.Broadcast()
	}
	return s.sending
}
