package frames

import (
	"context"
	"errors"
	"io"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Answer is a server's answer to the request of a [Client]. Its methods must not be called
// concurrently.
type Answer struct {
	connection *connection
	id         uint32
	stream     bool
	wake       chan struct{} // signals a change of the fields below; of capacity 1

	// Guarded by the connection's mutex.
	window  window // the server's window for the request body
	header  []hpack.HeaderField
	trailer []hpack.HeaderField
	body    []byte // received, not read yet
	inflow  inflow // counts the DATA of the body
	done    bool
	failure error
}

// notify wakes the goroutine that waits for the answer. If it waits for the complete
// answer, notify does nothing before that. The caller holds the mutex.
func (a *Answer) notify() {
	if !a.stream && !a.done {
		return
	}
	select {
	case a.wake <- struct{}{}:
	default: // a signal is already pending
	}
}

// finish completes the answer with its trailer or an error. The caller holds the mutex.
func (a *Answer) finish(trailer []hpack.HeaderField, err error) {
	if a.header == nil && trailer != nil {
		// The answer is a single header block, which counts as the trailer.
		a.header = []hpack.HeaderField{}
	}
	a.trailer, a.failure, a.done = trailer, err, true
	a.notify()
}

// wait waits until the condition holds or the answer is complete. It always returns with the
// mutex held. When ctx is done, wait cancels the request and returns the error of ctx.
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

// Header waits for the first header block of the answer and returns its fields. If the
// answer is a single header block, Header returns none; see Trailer.
func (a *Answer) Header(ctx context.Context) ([]hpack.HeaderField, error) {
	err := a.wait(ctx, func() bool { return a.header != nil })
	defer a.connection.mutex.Unlock()
	if err == nil && a.header == nil {
		err = a.failure
	}
	return a.header, err
}

// Receive returns the next n bytes of the body. The caller may modify them. Like
// [io.ReadFull], it returns [io.EOF] if the body has ended, and [io.ErrUnexpectedEOF] if
// fewer than n bytes are left. Otherwise the error is that of ctx or of the request.
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
			_ = a.connection.write(out) // an error ends the connection and with it the answer
		}
		if complete || err != nil {
			return data, err
		}
	}
}

// consume takes n bytes from the body if that many have been received. complete reports
// whether it did. err is the result of wait. The caller holds the mutex.
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

// All waits for the complete answer and returns it. If it fails, it returns the error of ctx
// or of the request, together with the part of the answer received so far.
func (a *Answer) All(ctx context.Context) (header, trailer []hpack.HeaderField, body []byte, err error) {
	err = a.wait(ctx, func() bool { return false })
	defer a.connection.mutex.Unlock()
	if err == nil {
		err = a.failure
	}
	return a.header, a.trailer, a.body, err
}

// Trailer returns the fields of the header block that ended the answer. It is valid once
// Receive has returned [io.EOF].
func (a *Answer) Trailer() []hpack.HeaderField {
	a.connection.mutex.Lock()
	defer a.connection.mutex.Unlock()
	return a.trailer
}

// waitRefused waits until the answer is complete, or has begun if Request.Stream was set. It
// reports whether the server refused the request.
func (a *Answer) waitRefused(ctx context.Context) bool {
	_ = a.wait(ctx, func() bool { return a.stream && a.header != nil }) // an error is in a.failure, too
	defer a.connection.mutex.Unlock()
	return errors.Is(a.failure, ErrRefused)
}

// Cancel cancels the request if it has not ended.
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
	// The server counts the stream until it has received the reset, so its place stays
	// reserved during the write. A failed write ends the connection.
	c.reserved++
	c.mutex.Unlock()
	_ = c.write(appendReset(nil, a.id, http2.ErrCodeCancel))
	c.mutex.Lock()
	c.reserved--
	c.placeFreed()
}
