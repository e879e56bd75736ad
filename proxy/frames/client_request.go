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

// Request is one that a [Client] makes. Its body is known as a whole.
type Request struct {
	Fields []hpack.HeaderField
	Body   []byte
	// Stream says that the answer is to be read as it comes. Otherwise it is kept
	// until it is complete.
	Stream bool
}

// Do makes a request and returns its answer: as soon as its first header fields have
// come if the request is for a stream, otherwise when it is complete. An answer that
// is a stream must be read to its end or cancelled.
//
// A request that the server has not taken (RFC 9113, 8.7) is made again, after a pause,
// until ctx is done. If there is no server the error is the dial's.
func (c *Client) Do(ctx context.Context, request Request) (*Answer, error) {
	for pause := refusedPause; ; pause = min(2*pause, refusedPauseMax) {
		answer, err := c.begin(ctx, request)
		if err != nil || !answer.waitRefused(ctx) {
			return answer, err
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)): // requests refused at once are not repeated at once
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// The pauses before a refused request is made again.
const (
	refusedPause    = 5 * time.Millisecond
	refusedPauseMax = 500 * time.Millisecond
)

// begin begins a request, on a new connection if the first one takes no more.
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
	return nil, ErrServerDisconnected // each time at once
}

// maxAttempts bounds the connections that fail while one request is sent.
const maxAttempts = 3

// ResetError says that the server has reset a request.
type ResetError struct{ Code http2.ErrCode }

func (e ResetError) Error() string {
	return fmt.Sprintf("the server has reset the request: %v", e.Code)
}

// ErrRefused says that the server has not taken a request, so that it can be made
// again.
var ErrRefused = errors.New("the server has not taken the request")

// ErrAnswerTooLarge says that the server has sent more than is kept of an answer.
var ErrAnswerTooLarge = fmt.Errorf("the answer is larger than %d bytes, or its header fields than %d", answerLimit, listLimit)

// errGoingAway is returned by a connection that accepts no more requests.
var errGoingAway = errors.New("the connection takes no more requests")
