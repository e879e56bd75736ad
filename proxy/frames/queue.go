package frames

import (
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// segment is a part of an answer that is to be written to the client.
type segment struct {
	data    []byte
	held    bool                // the data is the server's, and counted as held in the windows
	fields  []hpack.HeaderField // of a header block
	end     bool                // it ends the stream
	stop    bool                // what the client still sends after the end is of no use (RFC 9113, 8.1)
	credit  bool                // the client gets what it is due for its connection, too
	restore bool                // the answer is to be restored first, and ends with fields
	reset   bool                // RST_STREAM
	code    http2.ErrCode
}

// sendLimit is about how many bytes of a queue are written at once, so that other streams
// get their share of the client's connection window.
const sendLimit = 64 << 10

// enqueue adds to what a stream's goroutine sends, and starts the goroutine where there is
// none: what can't be written now must not hold up other streams. A stream whose queue is
// empty again passes frames as they come.
func (d *down) enqueue(s *stream, segments ...segment) error {
	d.mutex.Lock()
	for _, segment := range segments {
		d.rewriting = d.rewriting || segment.fields != nil // not sent in its order
		if s.closed {
			d.drop(segment)
		}
	}
	start := !s.sending && !s.closed && d.failure == nil
	if !s.closed {
		s.queue = append(s.queue, segments...)
	}
	if start {
		s.sending = true
		d.sending++
	}
	d.noteCredit(nil)
	d.changed.Broadcast()
	d.mutex.Unlock()
	if !start {
		return nil
	}
	err := d.flush() // the frames of the stream that came before
	d.handlers.Go(func() { d.sendQueue(s) })
	return err
}

// sendQueue sends the queue of a stream, as the client makes room for it.
func (r *Relay) sendQueue(s *stream) {
	for {
		next, ok := r.awaitRoom(s)
		switch {
		case !ok:
			return
		case next.restore:
			r.restoreNow(s, next.fields)
			continue
		}
		ended, err := r.writeQueue(s.id, &s.queue, &s.window)
		if err != nil {
			r.fail(nil)
		}
		if ended {
			r.sent(s)
		}
	}
}

// awaitRoom waits until the first segment of a stream's queue can be written, and returns
// it. It reports false when the goroutine is to end.
func (r *Relay) awaitRoom(s *stream) (segment, bool) {
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
	r.sending--
	r.checkLeft()
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
	r.awaitSettled()
	w := &r.clientWriter
	w.writing.Lock()
	defer w.writing.Unlock()
	r.mutex.Lock()
	frames := w.buffer[:0]
	for len(*queue) > 0 && !ended && len(frames) < sendLimit {
		next := &(*queue)[0]
		if next.restore || !next.hasRoom(stream) {
			break
		}
		var part segment
		part, *queue = r.cut(*queue, stream)
		frames = part.append(frames, id, r.clientSettings.maxFrame)
		ended = part.end
		if part.credit {
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

// cut takes as much of a queue's first segment as the windows allow, and returns it and
// the rest of the queue. The caller holds the mutex.
func (r *Relay) cut(queue []segment, stream *relayWindow) (part segment, rest []segment) {
	part = queue[0]
	n := min(len(part.data), sendLimit, stream.available())
	switch {
	case len(part.data) == 0:
		return part, queue[1:]
	case part.held:
		stream.pass(n)
	default:
		stream.inject(n)
		r.pings.injected = true
	}
	r.release(n)
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
		return appendReset(b, id, s.code)
	case s.fields == nil:
		return appendData(b, id, s.data, maxFrame, s.end)
	}
	var flags http2.Flags
	if s.end {
		flags = http2.FlagHeadersEndStream
	}
	b = appendBlock(b, id, appendLiterals(nil, s.fields), injectedMaxFrame, flags)
	if s.stop {
		b = appendReset(b, id, http2.ErrCodeNo)
	}
	return b
}

// sent notes that the client has the whole answer.
func (r *Relay) sent(s *stream) {
	r.mutex.Lock()
	var ended func(Outcome)
	if !s.closed {
		ended, s.plan.Ended = s.plan.Ended, nil
	}
	s.ending = false
	if s.clientDone && !s.closed {
		delete(r.open, s.id)
		r.checkLeft()
	}
	trailer := s.trailer
	r.mutex.Unlock()
	if ended != nil {
		ended(Outcome{End: Complete, Fields: trailer})
	}
}

// discard drops what the client does not get of a stream that is closed. The caller holds
// the mutex.
func (r *Relay) discard(s *stream) {
	s.closed = true
	for _, segment := range s.queue {
		r.drop(segment)
	}
	s.queue = nil
	if a := s.restoration; a != nil {
		if a.cancel != nil {
			a.cancel()
		}
		r.bodies -= len(a.body) + len(a.request)
		a.request, a.body, a.collecting = nil, nil, false
	}
	delete(r.credit.urgent, s)
	r.noteCredit(nil)
	r.changed.Broadcast()
}

// drop accounts for a segment that is not sent. The window of its stream is not used any
// more. The caller holds the mutex.
func (r *Relay) drop(s segment) {
	r.bodies -= len(s.data)
	if s.held {
		r.flow.toClient.absorb(len(s.data))
	}
}

// resetAfterQueue has the client's stream reset by the goroutine that sends its queue, so
// that nothing follows the reset. It reports false where there is no such goroutine. The
// caller holds the mutex.
func (r *Relay) resetAfterQueue(s *stream, code http2.ErrCode) bool {
	if s.sending {
		s.queue = append(s.queue, segment{reset: true, code: code})
		r.changed.Broadcast()
	}
	return s.sending
}
