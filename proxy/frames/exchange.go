package frames

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// ErrTooLarge says that the client has sent more than is kept of a request.
var ErrTooLarge = fmt.Errorf("the request is larger than %d bytes", requestBodyLimit)

// errClientReset is the failure of an exchange whose stream the client has reset.
var errClientReset = errors.New("the client has reset the request")

// Exchange is an intercepted request and its answer. Its methods must be called by the
// goroutine of the handler.
type Exchange struct {
	relay  *Relay
	id     uint32
	fields []hpack.HeaderField
	plan   Plan
	ctx    context.Context
	cancel context.CancelCauseFunc

	queue []segment // of the answer, not written yet

	// The fields below are guarded by Relay.mutex.
	body         []byte      // received and not consumed
	bodyComplete bool        // all of it is received, or it has failed
	failure      error       // of the body
	window       relayWindow // of the answer; the server does not know it
	extraCredit  int         // for the request's body, beyond the server's initial window
	started      bool        // the handler runs
	answerSent   bool        // to its end
}

// newExchange is called with Relay.mutex held.
func newExchange(r *Relay, id uint32, fields []hpack.HeaderField, plan Plan) *Exchange {
	x := &Exchange{relay: r, id: id, fields: fields, plan: plan, window: r.flow.toClient.stream(r.clientSettings.announcedWindow, r.clientSettings.appliedWindow)}
	x.ctx, x.cancel = context.WithCancelCause(r.handlerContext)
	return x
}

// receive appends a piece of the body. The first piece starts the handler.
func (x *Exchange) receive(data []byte, last bool) {
	r := x.relay
	r.mutex.Lock()
	defer r.mutex.Unlock()
	switch {
	case x.answerSent || x.bodyComplete:
		return
	case len(x.body)+len(data) > requestBodyLimit || r.buffered+len(data) > bufferLimit:
		x.failure, x.bodyComplete = ErrTooLarge, true
	default:
		x.body = append(x.body, data...)
		r.buffered += len(data)
		x.bodyComplete = last
	}
	r.changed.Broadcast()
	if !x.started && (x.bodyComplete || len(x.body) > 0) && r.failure == nil {
		x.started = true
		r.handlers.Go(x.run)
		r.checkDrained() // it may be unbounded, and the last one
	}
}

// cancelByClient ends the exchange after a reset by the client.
func (x *Exchange) cancelByClient(code http2.ErrCode) {
	r := x.relay
	r.mutex.Lock()
	x.failure, x.bodyComplete = errClientReset, true
	var ended func(Outcome)
	if !x.started {
		ended, x.plan.Ended = x.plan.Ended, nil
		x.remove()
	}
	r.changed.Broadcast()
	r.mutex.Unlock()
	x.cancel(nil)
	if ended != nil {
		ended(Outcome{End: ClientReset, Code: code})
	}
}

// remove removes the exchange from its relay. The caller holds the mutex.
func (x *Exchange) remove() {
	r := x.relay
	for _, segment := range x.queue {
		r.dropSegment(segment)
	}
	r.releaseBuffered(len(x.body))
	x.queue, x.body = nil, nil
	delete(r.intercepted, x.id)
	r.checkDrained()
}

func (x *Exchange) run() {
	r := x.relay
	defer x.cancel(nil)
	x.plan.Handler(x.ctx, x)
	r.mutex.Lock()
	unanswered := !x.answerSent && x.failure != errClientReset
	if !x.answerSent {
		x.answerSent = true
		x.remove()
	}
	r.mutex.Unlock()
	if unanswered {
		_ = r.inject(appendReset(nil, x.id, http2.ErrCodeInternal)) // the connection may be gone
	}
}

// Fields are the request's header fields.
func (x *Exchange) Fields() []hpack.HeaderField { return x.fields }

// HeaderListLimit returns the size of the largest header list that the client accepts
// (RFC 9113, 6.5.2), in bytes; 0 if it has announced none.
func (x *Exchange) HeaderListLimit() int { return int(x.relay.clientListLimit.Load()) }

// Receive returns the next n bytes of the body, which belong to the caller. Like
// [io.ReadFull] it fails with [io.EOF] where the body has ended before them, and
// with [io.ErrUnexpectedEOF] where it ends among them; otherwise with
// [ErrTooLarge], or for ctx, or because the client or the connection is gone.
func (x *Exchange) Receive(ctx context.Context, n int) ([]byte, error) {
	r := x.relay
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if len(x.body) < n && !x.bodyComplete {
		defer context.AfterFunc(ctx, r.wake)()
	}
	for len(x.body) < n && !x.bodyComplete && r.failure == nil && ctx.Err() == nil {
		r.changed.Wait()
	}
	if len(x.body) >= n {
		data := x.body[:n:n]
		x.body = x.body[n:]
		r.releaseBuffered(n)
		return data, nil
	}
	switch {
	case x.failure != nil:
		return nil, x.failure
	case r.failure != nil:
		return nil, r.failure
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case len(x.body) == 0:
		return nil, io.EOF
	default:
		return nil, io.ErrUnexpectedEOF
	}
}

// wake makes goroutines that wait for a change look again.
func (r *Relay) wake() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.changed.Broadcast()
}
