package frames

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// passUnchanged calls Restoration.Unchanged with the first DATA frame of an answer, and ends
// the restoration if it returns true. It returns the stream as unanswered does, because the
// client may have reset it meanwhile. The caller holds the mutex, which is released during
// the call.
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
	if s = p.unanswered(f.stream); s != nil && unchanged {
		p.finishCollecting(a)
		s.restoration = nil
	}
	return s
}

// collectAnswer appends DATA to a collected answer, and gives the server credit for it. If
// the answer exceeds a limit, it is forwarded unchanged.
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

// skipRestore stops collecting an answer, and queues the part collected so far. From then on,
// the server gets credit for the stream only when the client grants it.
func (p *serverToClient) skipRestore(s *stream, last bool) error {
	a := s.restoration
	p.mutex.Lock()
	body := a.body
	p.releaseBuffered(len(a.request)) // the body stays in memory until it is sent
	a.request, a.body, a.collecting = nil, nil, false
	s.serverDone, s.endQueued = last, last
	p.mutex.Unlock()
	if a.plan.Skipped != nil {
		a.plan.Skipped()
	}
	s.plan.watch(FromServer, body)
	return p.enqueue(s, segment{data: body, end: last})
}

// restoreAnswer restores a complete answer and sends it. If a header block ends the answer,
// trailer has its fields and last is false. If DATA ends it, trailer is nil and last is true.
// sent reports whether the trailer needs no further handling. If not, the caller must add it
// to the batch.
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

// reserveWindow takes n bytes from the client's windows for a restored answer. It reports
// false if the windows are too small to send the answer at once.
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

// finishCollecting ends the collection of an answer and releases its memory. The caller holds
// the mutex.
func (r *Relay) finishCollecting(a *restoration) {
	n := len(a.body) + len(a.request)
	a.request, a.body, a.collecting = nil, nil, false
	r.releaseBuffered(n)
	r.returnUrgentCredit(nil)
}

// restoreInQueue queues a complete answer, which the goroutine of its stream sends. If the
// restorer failed, usually with ErrWouldBlock, the goroutine first calls it again.
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

// answerSegments returns the segments of a restored answer that follow its first header block.
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

// restoreQueued calls the restorer in the goroutine that sends the queue of a stream, and puts
// the restored answer at the front of the queue.
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

// noteHeader keeps the first header block of an answer, and returns the fields for the client.
// An interim answer (RFC 9110, 15.2) is not kept. The fields for the client have no
// content-length, because the length of the answer may change.
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
