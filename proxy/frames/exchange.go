package frames

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// ErrTooLarge is returned for a request if its body exceeds a limit of the relay.
var ErrTooLarge = fmt.Errorf("request exceeds %d bytes", requestBodyLimit)

// errClientReset is the failure of an exchange if the client reset its stream.
var errClientReset = errors.New("client reset the stream")

// Exchange is an intercepted request and its answer. Its methods must only be called by the
// goroutine of the handler.
type Exchange struct {
	*interception
	ctx    context.Context
	cancel context.CancelCauseFunc

	queue []segment // the part of the answer that is not written yet

	// The fields below are guarded by Relay.mutex.
	body         []byte // received, not consumed yet
	bodyComplete bool   // the body is received or has failed
	failure      error  // the error of the body
	answerSent   bool   // the end of the answer is sent
}

// receive appends data to the body; last marks its end. The caller holds Relay.mutex.
func (x *Exchange) receive(data []byte, last bool) {
	r := x.relay
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
