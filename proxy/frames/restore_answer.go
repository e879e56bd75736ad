package frames

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// passUnchanged lets an answer pass if its first DATA frame shows that restoring would not
// change it. It returns the frame's stream, as unanswered does. The caller holds the
// mutex, which is released during the check.
func (p *serverToClient) passUnchanged(s *stream, f frame) *stream {
	a := s.restoration
	if a == nil || a.firstDataSeen || a.plan.Unchanged == nil {
		return s
	}
	a.firstDataSeen = true
	p.mutex.Unlock()
	content, err := f.content()
	unchanged := err == nil && a.plan.Unchanged(content)
	p.mutex.Lock()
	if s = p.unanswered(f.stream); s != nil && unchanged { // the client has not reset it
		p.finishCollecting(a)
		s.restoration = nil
	}
	return s
}

// collectAnswer buffers a piece of an answer, and credits it to the server. An answer that
// is too large is forwarded unchanged.
func (p *serverToClient) collectAnswer(s *stream, content []byte, last bool) error {
	a := s.restoration
	p.mutex.Lock()
	s.window.absorb(len(content))
	if !s.closed {
		a.body = append(a.body, content...)
		p.buffered += len(content)
	}
	tooLarge := p.buffered > bufferLimit || a.tooLarge
	if !last {
		p.returnUrgentCredit(s)
	}
	p.mutex.Unlock()
	switch {
	case tooLarge:
		return p.skipRestore(s, last)
	case last:
		_, err := p.restoreAnswer(s, nil, true)
		return err
	}
	return nil
}

// skipRestore forwards the collected part of an answer, and the rest of it as it comes.
// From now on the server gets credit for the stream as the client gives it.
func (p *serverToClient) skipRestore(s *stream, last bool) error {
	a := s.restoration
	p.mutex.Lock()
	body := a.body
	p.releaseBuffered(len(a.request)) // the body is still kept
	a.request, a.body, a.collecting = nil, nil, false
	s.serverDone, s.endQueued = last, last
	p.mutex.Unlock()
	if a.plan.Skipped != nil {
		a.plan.Skipped()
	}
	s.plan.watch(FromServer, body)
	return p.enqueue(s, segment{data: body, end: last})
}

// restoreAnswer restores an answer and sends it. trailer are the fields that end it, nil
// if its last DATA does. sent reports whether the trailer is sent, too; otherwise it must
// follow the batch.
func (p *serverToClient) restoreAnswer(s *stream, trailer []hpack.HeaderField, last bool) (sent bool, err error) {
	a := s.restoration
	p.mutex.Lock()
	of, tooLarge := Answered{Request: a.request, Header: a.header, Body: a.body}, a.tooLarge
	p.mutex.Unlock()
	restored := Restored{Body: of.Body}
	switch {
	case len(of.Body) == 0:
	case !tooLarge:
		restored, err = a.plan.Restore(p.handlerContext, of, false)
	case a.plan.Skipped != nil:
		a.plan.Skipped()
	}
	if err != nil || restored.Trailer != nil || !p.reserveWindow(s, len(restored.Body)) {
		return true, p.restoreInQueue(s, restored, err, trailer)
	}
	s.plan.watch(FromServer, restored.Body)
	if last || len(restored.Body) > 0 {
		p.batch.edit(func(b []byte) []byte { return appendData(b, s.id, restored.Body, defaultMaxFrame, last) })
	}
	if last {
		p.serverDone(s.id, nil)
	}
	return false, nil
}

// reserveWindow takes n bytes of the client's windows for a restored answer that can be
// sent at once. It reports false if the windows are too small.
func (p *serverToClient) reserveWindow(s *stream, n int) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	a := s.restoration
	if n > 0 && s.window.available() < n {
		return false
	}
	s.window.inject(n)
	p.finishCollecting(a)
	return true
}

// finishCollecting releases what was collected. The caller holds the mutex.
func (r *Relay) finishCollecting(a *restoration) {
	n := len(a.body) + len(a.request)
	a.request, a.body, a.collecting = nil, nil, false
	r.releaseBuffered(n)
	r.returnUrgentCredit(nil)
}

// restoreInQueue sends an answer from the goroutine of its stream, which first restores it
// if that may block.
func (p *serverToClient) restoreInQueue(s *stream, restored Restored, failed error, trailer []hpack.HeaderField) error {
	trailer = slices.Clone(trailer)
	p.mutex.Lock()
	s.serverDone, s.endQueued, s.trailer = true, true, trailer
	if failed == nil {
		p.buffered += len(restored.Body)
		p.finishCollecting(s.restoration)
	}
	p.mutex.Unlock()
	if failed != nil {
		return p.enqueue(s, segment{restore: true, fields: trailer})
	}
	s.plan.watch(FromServer, restored.Body)
	return p.enqueue(s, answerSegments(restored, trailer)...)
}

// answerSegments are the rest of a restored answer.
func answerSegments(restored Restored, trailer []hpack.HeaderField) []segment {
	if restored.Trailer != nil {
		trailer = restored.Trailer
	}
	if trailer == nil {
		return []segment{{data: restored.Body, end: true}}
	}
	segments := []segment{{fields: trailer, end: true}}
	if len(restored.Body) > 0 {
		segments = slices.Insert(segments, 0, segment{data: restored.Body})
	}
	return segments
}

// restoreQueued restores a complete answer in the goroutine that sends it.
func (r *Relay) restoreQueued(s *stream, trailer []hpack.HeaderField) {
	a := s.restoration
	ctx, cancel := context.WithCancel(r.handlerContext)
	defer cancel()
	r.mutex.Lock()
	if s.closed {
		r.mutex.Unlock()
		return
	}
	a.cancel = cancel
	of := Answered{Request: a.request, Header: a.header, Body: a.body}
	r.mutex.Unlock()
	restored, err := a.plan.Restore(ctx, of, true)
	if err != nil {
		restored = Restored{Body: of.Body}
	}
	s.plan.watch(FromServer, restored.Body)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if s.closed {
		return
	}
	r.buffered += len(restored.Body)
	r.finishCollecting(a)
	s.queue = slices.Concat(answerSegments(restored, trailer), s.queue)
}

// noteHeader keeps the header fields that an answer begins with, and returns those for
// the client. An interim block (RFC 9110, 15.2) is not kept. The answer's length may
// change, so that it is not announced.
func (a *restoration) noteHeader(fields []hpack.HeaderField) (forClient []hpack.HeaderField) {
	if strings.HasPrefix(Field(fields, ":status"), "1") || a.header != nil {
		return fields
	}
	a.header = slices.Clone(fields)
	if Field(fields, "content-length") == "" {
		return fields
	}
	return slices.DeleteFunc(slices.Clone(fields), func(f hpack.HeaderField) bool { return f.Name == "content-length" })
}
