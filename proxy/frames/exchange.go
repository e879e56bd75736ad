package frames

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// ErrTooLarge is the error of a request whose body exceeds a limit of the relay.
var ErrTooLarge = fmt.Errorf("request exceeds %d bytes", requestBodyLimit)

// errClientReset is the failure of an exchange whose stream the client reset.
var errClientReset = errors.New("client reset the stream")

// Exchange is an intercepted request and its answer. Its methods must only be called by the
// goroutine of the handler.
type Exchange struct {
	relay  *Relay
	id     uint32
	fields []hpack.HeaderField
	plan   Plan
	ctx    context.Context
	cancel context.CancelCauseFunc

	queue []segment // the part of the answer that is not written yet

	// The fields below are guarded by Relay.mutex.
	body         []byte      // received, not consumed yet
	bodyComplete bool        // the body is received or has failed
	failure      error       // the error of the body
	window       relayWindow // the client's window for the answer; the server does not know the stream
	extraCredit  int         // credit given to the client beyond the server's initial window
	started      bool        // the handler runs
	answerSent   bool        // the end of the answer is sent
}

// newExchange returns the exchange of a new stream. The caller holds Relay.mutex.
func newExchange(r *Relay, id uint32, fields []hpack.HeaderField, plan Plan) *Exchange {
	x := &Exchange{relay: r, id: id, fields: fields, plan: plan, window: r.flow.toClient.stream(r.clientSettings.announcedWindow, r.clientSettings.appliedWindow)}
	x.ctx, x.cancel = context.WithCancelCause(r.handlerContext)
	return x
}

// receive appends data to the body; last marks its end. The first data, or the end, starts
// the handler.
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
		r.checkDrained() // only unbounded requests may be left now
	}
}

// cancelByClient ends the exchange after the client reset the stream with code.
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

// run runs the handler. If the handler does not answer, run resets the stream.
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
		_ = r.inject(appendReset(nil, x.id, http2.ErrCodeInternal)) // fails if the connection is closed
	}
}

// Fields returns the header fields of the request.
func (x *Exchange) Fields() []hpack.HeaderField { return x.fields }

// HeaderListLimit returns the client's SETTINGS_MAX_HEADER_LIST_SIZE in bytes (RFC 9113,
// 6.5.2), or 0 if the client has not sent this setting.
func (x *Exchange) HeaderListLimit() int { return int(x.relay.clientListLimit.Load()) }

// Receive returns the next n bytes of the body. The caller may modify them. Like
// [io.ReadFull], it returns [io.EOF] if the body has ended, and [io.ErrUnexpectedEOF] if
// fewer than n bytes are left. It returns [ErrTooLarge] for a body that exceeds a limit, and
// other errors when ctx is done, the client resets the stream or the connection ends.
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

// wake wakes all goroutines that wait on r.changed.
func (r *Relay) wake() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.changed.Broadcast()
}
