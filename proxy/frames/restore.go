package frames

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Restoration is what becomes of a request that is relayed after a look at its body.
type Restoration struct {
	// Fields are the request's header fields as the server gets them.
	Fields []hpack.HeaderField
	// Restore changes the answer. Where it is nil the answer passes as it comes.
	Restore Restorer
	// Unchanged, where it is not nil, is called with the content of the answer's first DATA
	// frame, between two frames of the connection. If it reports true, the answer passes as
	// it comes.
	Unchanged func(beginning []byte) bool
	// Skipped is called where the answer is passed on without Restore, because it or its
	// request is larger than the relay keeps. It must not block.
	Skipped func()
}

// Restorer changes the body of an answer, which it must not modify. Without mayBlock it is called between two
// frames of the connection and returns [ErrWouldBlock] where it has to wait; it is then
// called again with mayBlock, in a goroutine of its own, with a context that ends with the
// request.
type Restorer func(ctx context.Context, of Answered, mayBlock bool) (Restored, error)

// Answered is a request with its whole answer.
type Answered struct {
	Request []byte              // the body; nil where the restoration was decided with it
	Header  []hpack.HeaderField // that the answer begins with
	Body    []byte              // of the answer
}

// Restored is a changed answer.
type Restored struct {
	Body []byte
	// Trailer replaces the header fields that end the answer, unless it is nil.
	Trailer []hpack.HeaderField
}

// ErrWouldBlock is returned by a [Restorer] that has to wait.
var ErrWouldBlock = errors.New("restoring the answer would block")

// restoration is the answer to a relayed request that is kept until it is complete and
// then changed. It is guarded by the relay's mutex.
type restoration struct {
	plan       *Restoration
	request    []byte // what has come of the body, where keeps is set
	keeps      bool
	tooLarge   bool // the request
	header     []hpack.HeaderField
	body       []byte
	collecting bool               // the answer is not complete
	peeked     bool               // its first DATA frame has come
	cancel     context.CancelFunc // of the restorer that runs in a goroutine; nil while none does
}

// passOn passes a taken request on after all, if its answer is to be restored and its
// frames can still come as if it had never been taken: f is its whole body.
func (u *up) passOn(x *Exchange, f frame, content []byte) bool {
	if x.plan.Restore == nil || !f.flags.Has(http2.FlagDataEndStream) || x.id <= u.passed {
		return false // the server has seen a later request, or will not see the whole body
	}
	u.mutex.Lock()
	possible := !x.begun && len(x.body) == 0 && len(content) <= u.flow.serverInitialWindow && u.accepts(x.id)
	u.mutex.Unlock()
	if !possible {
		return false
	}
	plan := x.plan.Restore(x.fields, content)
	if plan == nil {
		return false
	}
	u.mutex.Lock()
	if !u.accepts(x.id) {
		u.mutex.Unlock()
		return false
	}
	delete(u.taken, x.id)
	// The server does not know of the credit that the client has given meanwhile.
	s := &stream{id: x.id, plan: x.plan, clientDone: true, window: u.flow.toClient.stream(u.clientSettings.announcedWindow, x.window.receiver.size)}
	credit := 0
	if plan.Restore != nil {
		s.restoration = &restoration{plan: plan, collecting: true}
	}
	if plan.Restore == nil || plan.Unchanged != nil { // the answer may pass
		credit = s.window.takeCredit()
	}
	u.open[x.id] = s
	u.flow.toServer.receive(f.length)
	u.flow.toServer.pass(len(content))
	u.flow.toServer.absorb(f.length - len(content)) // padding
	u.mutex.Unlock()
	x.cancel(nil)
	x.plan.watch(FromClient, content)
	u.passed = x.id
	encoded := u.encoder.encode(nil, plan.Fields, u.serverTable.next())
	maxFrame := int(u.serverMaxFrame.Load())
	u.batch.edit(func(b []byte) []byte {
		b = appendData(appendBlock(b, x.id, encoded, maxFrame, 0), x.id, content, maxFrame, true)
		if credit > 0 {
			b = appendWindowUpdate(b, x.id, credit)
		}
		return b
	})
	return true
}

// restoreLater has the answer to a request restored that passes before its body is there.
func (s *stream) restoreLater(plan *Restoration) {
	s.restoration = &restoration{plan: plan, collecting: true, keeps: true}
}

// keepRequest keeps a piece of a request whose answer may have to be changed.
func (u *up) keepRequest(s *stream, f frame) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	a := s.restoration
	if a == nil || !a.keeps || !a.collecting {
		return
	}
	content, err := f.content()
	if err != nil {
		return // it is for the server to judge
	}
	if len(a.request)+len(content) > bodyLimit || u.bodies+len(content) > bodiesLimit {
		a.tooLarge = true
		return
	}
	a.request = append(a.request, content...)
	u.bodies += len(content)
}

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
