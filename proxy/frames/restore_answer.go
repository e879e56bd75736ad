package frames

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// peek lets an answer pass whose first DATA frame shows that it would not be changed. It
// returns the frame's stream, as answering does. The caller holds the mutex, which is
// released meanwhile.
func (d *down) peek(s *stream, f frame) *stream {
	a := s.restoration
	if a == nil || a.peeked || a.plan.Unchanged == nil {
		return s
	}
	a.peeked = true
	d.mutex.Unlock()
	content, err := f.content()
	unchanged := err == nil && a.plan.Unchanged(content)
	d.mutex.Lock()
	if s = d.answering(f.stream); s != nil && unchanged { // the client has not reset it
		d.finishCollecting(a)
		s.restoration = nil
	}
	return s
}

// collect keeps a piece of an answer. The server gets it back as credit, since the relay
// has taken it. An answer that is too large is passed on as it is.
func (d *down) collect(s *stream, content []byte, last bool) error {
	a := s.restoration
	d.mutex.Lock()
	s.window.absorb(len(content))
	if !s.closed {
		a.body = append(a.body, content...)
		d.bodies += len(content)
	}
	tooLarge := d.bodies > bodiesLimit || a.tooLarge
	if !last {
		d.noteCredit(s)
	}
	d.mutex.Unlock()
	switch {
	case tooLarge:
		return d.skip(s, last)
	case last:
		_, err := d.complete(s, nil, true)
		return err
	}
	return nil
}

// skip passes on what was collected of an answer, and the rest of it as it comes. From
// now on the server gets credit for the stream as the client gives it.
func (d *down) skip(s *stream, last bool) error {
	a := s.restoration
	d.mutex.Lock()
	body := a.body
	d.release(len(a.request)) // the body is still kept
	a.request, a.body, a.collecting = nil, nil, false
	s.serverDone, s.ending = last, last
	d.mutex.Unlock()
	if a.plan.Skipped != nil {
		a.plan.Skipped()
	}
	s.plan.watch(FromServer, body)
	return d.enqueue(s, segment{data: body, end: last})
}

// complete restores an answer and sends it. trailer are the fields that end it, nil where
// its last DATA does. It reports whether it has dealt with them too; otherwise they are
// to follow what it has added to the batch.
func (d *down) complete(s *stream, trailer []hpack.HeaderField, last bool) (sent bool, err error) {
	a := s.restoration
	d.mutex.Lock()
	of, tooLarge := Answered{Request: a.request, Header: a.header, Body: a.body}, a.tooLarge
	d.mutex.Unlock()
	restored := Restored{Body: of.Body}
	switch {
	case len(of.Body) == 0:
	case !tooLarge:
		restored, err = a.plan.Restore(d.lifetime, of, false)
	case a.plan.Skipped != nil:
		a.plan.Skipped()
	}
	if err != nil || restored.Trailer != nil || !d.fits(s, len(restored.Body)) {
		return true, d.completeLater(s, restored, err, trailer)
	}
	s.plan.watch(FromServer, restored.Body)
	if last || len(restored.Body) > 0 {
		d.batch.edit(func(b []byte) []byte { return appendData(b, s.id, restored.Body, plainMaxFrame, last) })
	}
	if last {
		d.serverDone(s.id, nil)
	}
	return false, nil
}

// fits takes n bytes of the client's windows for a restored answer that can be sent at
// once. It reports whether there are so many.
func (d *down) fits(s *stream, n int) bool {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	a := s.restoration
	if n > 0 && s.window.available() < n {
		return false
	}
	s.window.inject(n)
	d.finishCollecting(a)
	return true
}

// finishCollecting releases what was collected. The caller holds the mutex.
func (r *Relay) finishCollecting(a *restoration) {
	n := len(a.body) + len(a.request)
	a.request, a.body, a.collecting = nil, nil, false
	r.release(n)
	r.noteCredit(nil)
}

// completeLater sends an answer from a goroutine, which first restores it where that may
// block.
func (d *down) completeLater(s *stream, restored Restored, failed error, trailer []hpack.HeaderField) error {
	trailer = slices.Clone(trailer)
	d.mutex.Lock()
	s.serverDone, s.ending, s.trailer = true, true, trailer
	if failed == nil {
		d.bodies += len(restored.Body)
		d.finishCollecting(s.restoration)
	}
	d.mutex.Unlock()
	if failed != nil {
		return d.enqueue(s, segment{restore: true, fields: trailer})
	}
	s.plan.watch(FromServer, restored.Body)
	return d.enqueue(s, answerSegments(restored, trailer)...)
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

// restoreNow restores a complete answer in the goroutine that sends it.
func (r *Relay) restoreNow(s *stream, trailer []hpack.HeaderField) {
	a := s.restoration
	ctx, cancel := context.WithCancel(r.lifetime)
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
	r.bodies += len(restored.Body)
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
