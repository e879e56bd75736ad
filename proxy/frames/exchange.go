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
var ErrTooLarge = fmt.Errorf("the request is larger than %d bytes", bodyLimit)

// errAbandoned says that the client has given the request up.
var errAbandoned = errors.New("the client has reset the request")

// Exchange is a request that was taken, and its answer. Its methods are for one
// goroutine, the handler's.
type Exchange struct {
	relay  *Relay
	id     uint32
	fields []hpack.HeaderField
	plan   Plan
	ctx    context.Context
	cancel context.CancelCauseFunc

	queue []segment // of the answer, not written yet

	// The rest is guarded by the relay's mutex.
	body     []byte      // received and not consumed
	complete bool        // there is no more
	failure  error       // why there is none
	window   relayWindow // of the answer, of which the server knows nothing
	widened  int         // what the window of the request's body was widened by
	begun    bool        // the handler runs
	answered bool        // the answer's end is written
}

// newExchange is called with the relay's mutex held.
func newExchange(r *Relay, id uint32, fields []hpack.HeaderField, plan Plan) *Exchange {
	x := &Exchange{relay: r, id: id, fields: fields, plan: plan, window: r.flow.toClient.stream(r.clientSettings.announcedWindow, r.clientSettings.appliedWindow)}
	x.ctx, x.cancel = context.WithCancelCause(r.lifetime)
	return x
}

// receive takes a piece of the body, and begins the answer with the first.
func (x *Exchange) receive(data []byte, last bool) {
	r := x.relay
	r.mutex.Lock()
	defer r.mutex.Unlock()
	switch {
	case x.answered || x.complete:
		return
	case len(x.body)+len(data) > bodyLimit || r.bodies+len(data) > bodiesLimit:
		x.failure, x.complete = ErrTooLarge, true
	default:
		x.body = append(x.body, data...)
		r.bodies += len(data)
		x.complete = last
	}
	r.changed.Broadcast()
	if !x.begun && (x.complete || len(x.body) > 0) && r.failure == nil {
		x.begun = true
		r.handlers.Go(x.run)
		r.checkLeft() // it may be all that is left, and endless
	}
}

// abandon ends the exchange from the client's side.
func (x *Exchange) abandon(code http2.ErrCode) {
	r := x.relay
	r.mutex.Lock()
	x.failure, x.complete = errAbandoned, true
	var ended func(Outcome)
	if !x.begun {
		ended, x.plan.Ended = x.plan.Ended, nil
		x.gone()
	}
	r.changed.Broadcast()
	r.mutex.Unlock()
	x.cancel(nil)
	if ended != nil {
		ended(Outcome{End: ClientReset, Code: code})
	}
}

// gone removes the exchange from the relay, whose mutex the caller holds.
func (x *Exchange) gone() {
	r := x.relay
	for _, segment := range x.queue {
		r.drop(segment)
	}
	r.release(len(x.body))
	x.queue, x.body = nil, nil
	delete(r.taken, x.id)
	r.checkLeft()
}

func (x *Exchange) run() {
	r := x.relay
	defer x.cancel(nil)
	x.plan.Handler(x.ctx, x)
	r.mutex.Lock()
	unanswered := !x.answered && x.failure != errAbandoned
	if !x.answered {
		x.answered = true
		x.gone()
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
	if len(x.body) < n && !x.complete {
		defer context.AfterFunc(ctx, r.wake)()
	}
	for len(x.body) < n && !x.complete && r.failure == nil && ctx.Err() == nil {
		r.changed.Wait()
	}
	if len(x.body) >= n {
		data := x.body[:n:n]
		x.body = x.body[n:]
		r.release(n)
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
