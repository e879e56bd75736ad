package frames

import (
	"context"
	"errors"
	"io"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Answer is what a server answers to a [Client]'s request. Its methods are for one
// goroutine.
type Answer struct {
	connection *connection
	id         uint32
	stream     bool
	wake       chan struct{} // something below has changed

	// Guarded by the connection's mutex.
	window  window // the server's for the request's body
	header  []hpack.HeaderField
	trailer []hpack.HeaderField
	body    []byte // received and not read
	inflow  inflow // of the answer's body
	done    bool
	failure error
}

// notify wakes the reader; the caller holds the mutex. One that waits for the whole
// answer is left asleep until then.
func (a *Answer) notify() {
	if !a.stream && !a.done {
		return
	}
	select {
	case a.wake <- struct{}{}:
	default: // it has not looked yet
	}
}

// finish ends the answer; the caller holds the mutex.
func (a *Answer) finish(trailer []hpack.HeaderField, err error) {
	if a.header == nil && trailer != nil {
		// An answer of one header block: it is its trailer as well.
		a.header = []hpack.HeaderField{}
	}
	a.trailer, a.failure, a.done = trailer, err, true
	a.notify()
}

// wait returns, with the mutex held, once a condition holds or the answer is
// complete. Its error is that of ctx, which cancels the request.
func (a *Answer) wait(ctx context.Context, condition func() bool) error {
	c := a.connection
	c.mutex.Lock()
	for !a.done && !condition() {
		c.mutex.Unlock()
		select {
		case <-a.wake:
		case <-ctx.Done():
			a.cancel(ctx.Err())
			c.mutex.Lock()
			return ctx.Err()
		}
		c.mutex.Lock()
	}
	return nil
}

// Header waits for the fields that the answer begins with. An answer that is one header
// block has none of them: that block is its trailer.
func (a *Answer) Header(ctx context.Context) ([]hpack.HeaderField, error) {
	err := a.wait(ctx, func() bool { return a.header != nil })
	defer a.connection.mutex.Unlock()
	if err == nil && a.header == nil {
		err = a.failure
	}
	return a.header, err
}

// Receive returns the next n bytes of the answer's body, which belong to the
// caller. It fails as [Exchange.Receive] does, or as the request did.
func (a *Answer) Receive(ctx context.Context, n int) ([]byte, error) {
	for {
		err := a.wait(ctx, func() bool { return len(a.body) >= n || a.inflow.due() })
		data, complete, err := a.consume(n, err)
		var out []byte
		if !a.done && err == nil {
			out = a.inflow.appendCredit(nil, a.id)
		}
		a.connection.mutex.Unlock()
		if len(out) > 0 {
			_ = a.connection.write(out) // if it fails the connection has ended, and so has the answer
		}
		if complete || err != nil {
			return data, err
		}
	}
}

// consume takes n bytes where they are there; the caller holds the mutex.
func (a *Answer) consume(n int, err error) (data []byte, complete bool, _ error) {
	switch {
	case err != nil:
		return nil, false, err
	case len(a.body) >= n:
		data = a.body[:n:n]
		a.body = a.body[n:]
		return data, true, nil
	case a.failure != nil:
		return nil, false, a.failure
	case a.done && len(a.body) == 0:
		return nil, false, io.EOF
	case a.done:
		return nil, false, io.ErrUnexpectedEOF
	}
	return nil, false, nil
}

// All waits for the whole answer and returns it. The error is that of ctx, or that
// of the request, beside what there is of an answer.
func (a *Answer) All(ctx context.Context) (header, trailer []hpack.HeaderField, body []byte, err error) {
	err = a.wait(ctx, func() bool { return false })
	defer a.connection.mutex.Unlock()
	if err == nil {
		err = a.failure
	}
	return a.header, a.trailer, a.body, err
}

// Trailer is what the answer has ended with, once Receive has returned [io.EOF].
func (a *Answer) Trailer() []hpack.HeaderField {
	a.connection.mutex.Lock()
	defer a.connection.mutex.Unlock()
	return a.trailer
}

// waitRefused waits until the answer has begun, if it is a stream, or is complete. It
// reports whether the server has refused the request.
func (a *Answer) waitRefused(ctx context.Context) bool {
	_ = a.wait(ctx, func() bool { return a.stream && a.header != nil }) // an error has ended the answer
	defer a.connection.mutex.Unlock()
	return errors.Is(a.failure, ErrRefused)
}

// Cancel gives the request up, if it has not ended.
func (a *Answer) Cancel() { a.cancel(context.Canceled) }

func (a *Answer) cancel(err error) {
	c := a.connection
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if a.done {
		return
	}
	delete(c.answers, a.id)
	a.finish(nil, err)
	// The place is free once the server has been told. A failed write ends the connection.
	c.reserved++
	c.mutex.Unlock()
	_ = c.write(appendReset(nil, a.id, http2.ErrCodeCancel))
	c.mutex.Lock()
	c.reserved--
	c.placeFreed()
}
