package frames

import (
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// segment is a part of an answer that could not be written when it arrived.
type segment struct {
	data    []byte
	held    bool                // the data is the server's, and counted as held in the windows
	fields  []hpack.HeaderField // of a header block
	end     bool                // it ends the stream
	restore bool                // the answer is to be restored first, and ends with fields
	reset   bool                // RST_STREAM
	code    http2.ErrCode
}

// sendLimit is how many bytes of a queue are written at once, so that other streams get
// their share of the client's connection window.
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

// sendQueue sends the queue of a stream in order, as the client makes room for it.
func (r *Relay) sendQueue(s *stream) {
	for {
		next, ok := r.nextSegment(s)
		if !ok {
			return
		}
		if next.restore {
			r.restoreNow(s, next.fields)
			continue
		}
		if r.inject(next.append(nil, s.id)) != nil {
			r.fail(nil)
		}
		if next.end {
			r.sent(s)
		}
	}
}

func (s segment) append(b []byte, id uint32) []byte {
	switch {
	case s.reset:
		return appendReset(b, id, s.code)
	case s.fields != nil:
		var flags http2.Flags
		if s.end {
			flags = http2.FlagHeadersEndStream
		}
		return appendBlock(b, id, appendLiterals(nil, s.fields), injectedMaxFrame, flags)
	default:
		return appendData(b, id, s.data, plainMaxFrame, s.end)
	}
}

// nextSegment returns what is to be sent next, of DATA as much as the client's windows
// allow, and waits until there is something. It reports false when the goroutine is to
// end.
func (r *Relay) nextSegment(s *stream) (segment, bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for r.failure == nil && len(s.queue) > 0 {
		next := &s.queue[0]
		if len(next.data) == 0 {
			first := *next
			s.queue = s.queue[1:]
			return first, true
		}
		if n := r.take(s, next); n > 0 {
			part := *next
			part.data, next.data = next.data[:n:n], next.data[n:]
			if len(next.data) > 0 {
				part.end = false
			} else {
				s.queue = s.queue[1:]
			}
			return part, true
		}
		r.changed.Wait()
	}
	s.sending = false
	r.sending--
	r.checkLeft()
	return segment{}, false
}

// take takes the client's windows for the data of a segment, and returns for how much of
// it. The caller holds the mutex.
func (r *Relay) take(s *stream, next *segment) int {
	n := min(len(next.data), sendLimit, r.toClient.receiver)
	own := s.restoration != nil // the relay's window of the stream
	if own {
		n = min(n, s.restoration.window.receiver)
	}
	if n <= 0 {
		return 0
	}
	if next.held {
		r.toClient.pass(n)
	} else {
		r.toClient.inject(n)
	}
	switch {
	case own && next.held:
		s.restoration.window.pass(n)
	case own:
		s.restoration.window.inject(n)
	}
	r.release(n)
	r.changed.Broadcast()
	return n
}

// sent notes that the client has the whole answer.
func (r *Relay) sent(s *stream) {
	r.mutex.Lock()
	ended := s.plan.Ended
	if s.closed {
		ended = nil
	}
	if ended != nil {
		s.plan.Ended = nil
	}
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
		a.cancel()
		r.bodies -= len(a.body)
		a.body, a.collecting = nil, false
	}
	delete(r.starved, s)
	r.noteCredit(nil)
	r.changed.Broadcast()
}

// drop accounts for a segment that is not sent. The caller holds the mutex.
func (r *Relay) drop(s segment) {
	r.bodies -= len(s.data)
	if s.held {
		r.toClient.absorb(len(s.data))
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
