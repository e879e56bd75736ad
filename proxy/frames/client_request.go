package frames

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Request is a request of a [Client], with its complete body.
type Request struct {
	Fields []hpack.HeaderField
	Body   []byte
	// Stream makes Do return when the answer begins. Otherwise Do returns when the answer is
	// complete.
	Stream bool
}

// Do sends a request and returns its answer. If Request.Stream is set, it returns after the
// first header block, and the caller must read the answer to its end or cancel it. Otherwise
// Do returns the complete answer.
//
// If the server refuses the stream (RFC 9113, 8.7), Do retries after a pause until ctx is
// done. If no connection can be opened, it returns the error of dial.
func (c *Client) Do(ctx context.Context, request Request) (*Answer, error) {
	for pause := refusedPause; ; pause = min(2*pause, refusedPauseMax) {
		answer, err := c.begin(ctx, request)
		if err != nil || !answer.waitRefused(ctx) {
			return answer, err
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)): // spreads the retries of requests refused together
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// The shortest and the longest pause before a refused request is retried.
const (
	refusedPause    = 5 * time.Millisecond
	refusedPauseMax = 500 * time.Millisecond
)

// begin sends a request. If the connection no longer accepts requests, it tries another one.
func (c *Client) begin(ctx context.Context, request Request) (*Answer, error) {
	for range maxAttempts {
		connection, err := c.reserve(ctx)
		if err != nil {
			return nil, err
		}
		answer, err := connection.begin(ctx, request)
		if !errors.Is(err, errGoingAway) {
			return answer, err
		}
	}
	return nil, ErrServerDisconnected
}

// maxAttempts is the number of connections on which begin tries to send a request.
const maxAttempts = 3

// ResetError is returned for a request if the server reset its stream.
type ResetError struct{ Code http2.ErrCode }

func (e ResetError) Error() string {
	return fmt.Sprintf("server reset the stream: %v", e.Code)
}

// ErrRefused is the error of a request that the server did not process, so that it can be
// retried.
var ErrRefused = errors.New("server refused the stream")

// ErrAnswerTooLarge is returned for a request if its answer exceeds a limit of the client.
var ErrAnswerTooLarge = fmt.Errorf("answer exceeds %d bytes, or its header list %d bytes", answerLimit, listLimit)

// errGoingAway is returned by a connection that accepts no more requests.
var errGoingAway = errors.New("connection accepts no more requests")
