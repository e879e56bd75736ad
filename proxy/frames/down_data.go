package frames

import (
	"bytes"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// answering returns the relayed request of a stream that the server has not answered to
// the end; nil if there is none. The caller holds the mutex.
func (d *down) answering(id uint32) *stream {
	if s := d.open[id]; s != nil && !s.serverDone {
		return s
	}
	return nil
}

// serverDone notes that the server has sent all of its answer.
func (d *down) serverDone(id uint32, fields []hpack.HeaderField) {
	d.mutex.Lock()
	s := d.open[id]
	if s == nil {
		d.mutex.Unlock()
		return
	}
	ended := s.plan.Ended
	s.serverDone, s.plan.Ended = true, nil
	if s.clientDone {
		delete(d.open, id)
		d.checkLeft()
	}
	d.mutex.Unlock()
	if ended != nil {
		ended(Outcome{End: Complete, Fields: fields})
	}
}

// data passes DATA on, or keeps it if it can't pass now.
func (d *down) data(f frame) error {
	last := f.flags.Has(http2.FlagDataEndStream)
	content, malformed := f.content() // the client judges a frame that passes
	d.mutex.Lock()
	d.pings.serverSentData = true
	s := d.answering(f.stream)
	if s != nil {
		s = d.peek(s, f)
	}
	counted := &d.flow.toClient // the windows that the frame counts in
	if s != nil {
		counted = &s.window
	}
	counted.receive(f.length)
	exceeded := d.flow.toClient.exceeded()
	passes := f.length <= d.flow.toClient.available() && (s == nil || s.restoration == nil && !s.sending)
	collecting := s != nil && s.restoration != nil && s.restoration.collecting
	switch {
	case passes:
		counted.pass(f.length)
	case s == nil: // the client has no such request
		counted.absorb(f.length)
		d.noteCredit(nil)
	default:
		counted.absorb(f.length - len(content))
	}
	d.mutex.Unlock()
	switch {
	case exceeded:
		return connectionError{http2.ErrCodeFlowControl, "more DATA than the client's window"}
	case passes:
		d.passData(s, f, last)
		return nil
	case s == nil:
		return nil
	case malformed != nil:
		return malformed
	case collecting:
		return d.collect(s, content, last)
	}
	return d.hold(s, content, last)
}

// passData passes DATA on as it came. s is nil if the client has no such request.
func (d *down) passData(s *stream, f frame, last bool) {
	d.batch.keep(f)
	if s != nil {
		s.plan.watchFrame(FromServer, f)
	}
	if last {
		d.serverDone(f.stream, nil)
	}
}

// hold queues DATA that the client's window has no room for. Padding is left out, and
// given back to the server.
func (d *down) hold(s *stream, content []byte, last bool) error {
	s.plan.watch(FromServer, content)
	d.mutex.Lock()
	for d.flow.toClient.held > bodiesLimit && d.failure == nil { // the client's windows are as large
		d.changed.Wait()
	}
	d.bodies += len(content)
	s.serverDone, s.ending = last, last
	d.noteCredit(s)
	d.mutex.Unlock()
	return d.enqueue(s, segment{data: bytes.Clone(content), held: true, end: last})
}
