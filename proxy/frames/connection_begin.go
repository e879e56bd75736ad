package frames

import (
	"context"

	"golang.org/x/net/http2"
)

// begin sends a request, for which the caller has reserved a place.
func (c *connection) begin(ctx context.Context, request Request) (*Answer, error) {
	answer := &Answer{
		connection: c,
		stream:     request.Stream,
		wake:       make(chan struct{}, 1),
		inflow:     inflow{limit: receiveWindow / 2},
	}
	c.writeMutex.Lock()
	rest, err := c.beginLocked(answer, request)
	if err == nil {
		if err := c.flush(); err != nil {
			// The server will not receive the complete request, so it can be retried.
			c.writeMutex.Unlock()
			c.fail(err)
			return nil, errGoingAway
		}
	}
	c.writeMutex.Unlock()
	if err == nil && len(rest) > 0 {
		if err = c.sendRest(ctx, answer, rest); err != nil {
			answer.cancel(err)
		}
	}
	return answer, err
}

// beginLocked encodes a request, with as much of its body as the server's windows allow. It
// returns the rest of the body. The caller holds writeMutex.
func (c *connection) beginLocked(answer *Answer, request Request) (rest []byte, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.reserved--
	if !c.acceptsRequests() {
		c.closeIdle()
		return nil, errGoingAway
	}
	answer.id = c.nextStreamID
	c.nextStreamID += 2
	c.answers[answer.id] = answer
	answer.window = window{size: c.initialWindow, connection: &c.window}
	block := c.encoder.encode(nil, request.Fields, c.headerTableSize)
	flags := http2.Flags(0)
	if len(request.Body) == 0 {
		flags = http2.FlagHeadersEndStream
	}
	c.out = appendBlock(c.out, answer.id, block, c.maxFrame, flags)
	return request.Body[c.appendPiece(answer, request.Body):], nil
}

// sendRest sends the rest of a body as the server grants credit.
func (c *connection) sendRest(ctx context.Context, answer *Answer, rest []byte) error {
	defer context.AfterFunc(ctx, func() {
		c.mutex.Lock()
		defer c.mutex.Unlock()
		c.changed.Broadcast()
	})()
	for len(rest) > 0 {
		c.mutex.Lock()
		for (c.stalled || answer.window.available() <= 0) && c.failure == nil && ctx.Err() == nil && !answer.done {
			c.changed.Wait()
		}
		failure, done, complete := c.failure, answer.done, answer.failure == nil
		c.mutex.Unlock()
		switch {
		case done && complete: // the server answered early and does not need the rest
			return c.write(appendReset(nil, answer.id, http2.ErrCodeCancel))
		case done:
			return nil // the answer has the error
		case failure != nil:
			return failure
		case ctx.Err() != nil:
			return ctx.Err()
		}
		n, err := c.sendPiece(answer, rest)
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// sendPiece sends as much of a body as the windows allow, and returns the number of bytes.
// It holds writeMutex, so that no acknowledgement of SETTINGS is written between taking bytes
// from the windows and writing the DATA.
func (c *connection) sendPiece(answer *Answer, rest []byte) (int, error) {
	c.writeMutex.Lock()
	defer c.writeMutex.Unlock()
	c.mutex.Lock()
	n := 0
	if !answer.done {
		n = c.appendPiece(answer, rest)
	}
	c.mutex.Unlock()
	return n, c.flush()
}

// appendPiece is like sendPiece, but only appends to out. The caller holds writeMutex and
// mutex.
func (c *connection) appendPiece(answer *Answer, body []byte) int {
	n := max(0, min(answer.window.available(), len(body)))
	if n > 0 {
		answer.window.take(n)
		c.out = appendData(c.out, answer.id, body[:n], c.maxFrame, n == len(body))
	}
	return n
}
