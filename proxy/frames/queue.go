package frames

import (
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// segment is a part of an answer that is to be written to the client.
type segment struct {
	data       []byte
	fromServer bool                // the data was sent by the server, and counts as held in the windows
	fields     []hpack.HeaderField // of a header block
	end        bool                // it ends the stream
	resetAfter bool                // RST_STREAM follows: the rest of the request is not needed (RFC 9113, 8.1)
	withCredit bool                // the pending credit of the client's connection follows
	restore    bool                // the answer is to be restored first, and ends with fields
	reset      bool                // RST_STREAM
	resetCode  http2.ErrCode
}

// sendLimit is about how many bytes of a queue are written at once, so that other streams
// get their share of the client's connection window.
const sendLimit = 64 << 10

// enqueue adds to the queue of a stream, and starts the goroutine that sends it if none
// runs: an answer that can't be written now must not block other streams. A stream whose
// queue is empty again forwards frames as they come.
func (p *serverToClient) enqueue(s *stream, segments ...segment) error {
	p.mutex.Lock()
	for _, segment := range segments {
		p.reencoding = p.reencoding || segment.fields != nil // not sent in its order
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
	err := p.flush() // the frames of the stream that came before
	p.handlers.Go(func() { p.sendQueue(s) })
	return err
}

// sendQueue sends the queue of a stream, as the client makes room for it.
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
		ended, err := r.writeQueue(s.id, &s.queue, &s.window)
		if err != nil {
			r.fail(nil)
		}
		if ended {
			r.queueSent(s)
		}
	}
}

// nextSegment waits until the first segment of a stream's queue can be written, and
// returns it. It reports false when the goroutine must end.
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

// hasRoom reports whether a segment, or a part of it, can be written now. The caller holds
// the mutex.
func (s segment) hasRoom(stream *relayWindow) bool {
	return len(s.data) == 0 || stream.available() > 0
}

// writeQueue writes the beginning of a queue as far as the client's windows allow, and
// removes it. It reports whether the end of the stream was written. Windows are taken
// while nothing else can be written to the client: otherwise DATA that was measured by the
// windows of before could follow the acknowledgement of smaller ones (RFC 9113, 6.9.2).
func (r *Relay) writeQueue(id uint32, queue *[]segment, stream *relayWindow) (ended bool, err error) {
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

// takeSegment takes as much of a queue's first segment as the windows allow. It returns
// that part and the rest of the queue. The caller holds the mutex.
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
		r.pings.injected = true
	}
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

// queueSent is called when the client has the whole answer of a stream.
func (r *Relay) queueSent(s *stream) {
	r.mutex.Lock()
	var ended func(Outcome)
	if !s.closed {
		ended, s.plan.Ended = s.plan.Ended, nil
	}
	s.endQueued = false
	if s.clientDone && !s.closed {
		delete(r.relayed, s.id)
		r.checkDrained()
	}
	trailer := s.trailer
	r.mutex.Unlock()
	if ended != nil {
		ended(Outcome{End: Complete, Fields: trailer})
	}
}

// discardStream drops the unsent rest of a closed stream. The caller holds the mutex.
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

// dropSegment accounts for a segment that is not sent. The window of its stream is no
// longer used. The caller holds the mutex.
func (r *Relay) dropSegment(s segment) {
	r.buffered -= len(s.data)
	if s.fromServer {
		r.flow.toClient.absorb(len(s.data))
	}
}

// resetAfterQueue queues a reset of the client's stream, so that no frame follows it. It
// reports false if no goroutine sends the queue. The caller holds the mutex.
func (r *Relay) resetAfterQueue(s *stream, code http2.ErrCode) bool {
	if s.sending {
		s.queue = append(s.queue, segment{reset: true, resetCode: code})
		r.changed.Broadcast()
	}
	return s.sending
}
