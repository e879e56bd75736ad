package proxy

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/frames"
	"image-cri-shim/proxy/intercept"
	"image-cri-shim/unixsocket"
)

// joined is a client's connection.
type joined struct {
	*framesEngine
	client unixsocket.Peer
}

// route decides what becomes of a call when its header fields are there.
func (j joined) route(fields []hpack.HeaderField) frames.Plan {
	method := frames.Field(fields, ":path")
	o := observe(j.observer, j.client, method)
	plan := frames.Plan{Endless: j.endless.has(method)}
	if o != nil {
		timeout := frames.Field(fields, "grpc-timeout")
		plan.Watch = func(from frames.Side, piece []byte) { o.piece(Side(from), piece) }
		plan.Ended = func(outcome frames.Outcome) { o.end(overdue(outcomeError(outcome), timeout, time.Since(o.call.Start))) }
	}
	unary, intercepted := j.interceptors.Unary[method]
	stream, streamed := j.interceptors.Stream[method]
	if !intercepted && !streamed || j.interceptors.IsOpaque(method) {
		return plan
	}
	if !canDecode(fields) {
		plan.Handler = func(_ context.Context, exchange *frames.Exchange) { o.end(refuseEncoding(exchange)) }
		return plan
	}
	if forward := j.interceptors.Forward[method]; forward != nil && isPlain(fields) {
		if forwarding, ok := forward(); ok {
			plan.Restoration = j.forwarding(forwarding, o, fields)
			return plan
		}
	}
	plan.Handler = func(ctx context.Context, exchange *frames.Exchange) {
		ctx, cancel := withTimeout(o.context(ctx), exchange.Fields())
		defer cancel()
		c := &interceptedCall{engine: j.framesEngine, exchange: exchange, ctx: ctx, method: method, observed: o}
		if intercepted {
			c.unary(unary)
		} else {
			c.serverStream(stream)
		}
		o.end(expired(ctx, c.failure))
	}
	if pass := j.interceptors.Pass[method]; pass != nil {
		plan.Restore = func(fields []hpack.HeaderField, body []byte) *frames.Restoration {
			return j.restoration(pass, o, fields, body)
		}
	}
	return plan
}

// refuseEncoding answers a request to an intercepted method that can't be read, as gRPC's
// servers do (gRPC over HTTP/2, "Compression"). The runtime must not get it: what it names
// would not have been looked at.
func refuseEncoding(exchange *frames.Exchange) error {
	err := status.Errorf(codes.Unimplemented, "requests with the grpc-encoding %.20q are not accepted", frames.Field(exchange.Fields(), "grpc-encoding"))
	accepted := []hpack.HeaderField{{Name: "grpc-accept-encoding", Value: "identity,gzip,deflate"}}
	fields := beginFields(contentTypeOf(nil, exchange.Fields()), endFields(err, accepted))
	_ = exchange.End(fields) // if it fails the client has gone
	return err
}

func withTimeout(ctx context.Context, fields []hpack.HeaderField) (context.Context, context.CancelFunc) {
	if timeout, ok := parseTimeout(frames.Field(fields, "grpc-timeout")); ok {
		return context.WithTimeout(ctx, timeout)
	}
	return ctx, func() {}
}

// outcomeError is what the client of a relayed call gets; nil where all is well.
func outcomeError(outcome frames.Outcome) error {
	switch outcome.End {
	case frames.Complete:
		return statusOf(nil, outcome.Fields)
	case frames.ServerReset:
		return status.Errorf(resetCode(outcome.Code), "the runtime has reset the call: %v", outcome.Code)
	case frames.Dismissed:
		return errEnding
	case frames.ServerGone:
		return status.Error(codes.Unavailable, "the connection to the runtime has ended")
	default:
		return status.Error(codes.Canceled, "the client has given up")
	}
}

// overdue is [expired] for a call whose time nobody here has kept.
func overdue(err error, timeout string, took time.Duration) error {
	if limit, set := parseTimeout(timeout); set && took >= limit && status.Code(err) == codes.Canceled {
		return status.FromContextError(context.DeadlineExceeded).Err()
	}
	return err
}

// interceptedCall is one call that an interceptor answers.
type interceptedCall struct {
	engine   *framesEngine
	exchange *frames.Exchange
	ctx      context.Context // with the call's deadline
	method   string
	observed *observed
	begun    bool  // the answer has
	failure  error // what the client got; nil where all is well

	mutex           sync.Mutex
	header, trailer []hpack.HeaderField // of the last call to method
	contentType     string              // of the runtime's answer to it
}

// unary lets handle answer the call.
func (c *interceptedCall) unary(handle intercept.Unary) {
	request, err := c.request()
	if err != nil {
		c.end(err)
		return
	}
	response, err := handle(c.ctx, request, c.invoke)
	if err == nil {
		c.begin()
		err = c.send(response)
	} else if c.header != nil {
		c.begin()
	}
	c.end(err)
}

// serverStream lets handle change the request and each response message.
func (c *interceptedCall) serverStream(handle intercept.Stream) {
	request, err := c.request()
	if err != nil {
		c.end(err)
		return
	}
	forward, transform, err := handle(c.ctx, request, c.invoke)
	if err != nil {
		c.header, c.trailer = nil, nil
		c.end(err)
		return
	}
	c.end(c.relay(forward, transform))
}

// relay sends what the runtime answers to the client, to its end.
func (c *interceptedCall) relay(request []byte, transform intercept.Transform) error {
	answer, header, err := c.ask(request)
	if err != nil {
		return lost(c.ctx, err)
	}
	defer answer.Cancel()
	if len(header) > 0 {
		c.header, c.contentType = applicationFields(header), contentTypeOf(header, c.exchange.Fields())
		c.begin()
		if err := c.exchange.Flush(); err != nil {
			return err
		}
	}
	for {
		message, err := receiveMessage(c.ctx, answer, header)
		if errors.Is(err, io.EOF) {
			trailer := answer.Trailer()
			c.trailer = applicationFields(trailer)
			err := statusOf(header, trailer)
			if err == nil && transform != nil {
				_, _ = transform(nil)
			}
			return err
		}
		if err != nil {
			return lost(c.ctx, err)
		}
		if transform != nil {
			if message, err = transform(notNil(message)); err != nil {
				return err
			}
		}
		if err := c.send(message); err != nil {
			return err
		}
		if err := c.exchange.Flush(); err != nil {
			return err
		}
	}
}

// notNil returns a message that a [intercept.Transform] does not take for the end of the stream.
func notNil(message []byte) []byte {
	if message == nil {
		return []byte{}
	}
	return message
}

// ask begins a call of the runtime whose answer is a stream.
func (c *interceptedCall) ask(request []byte) (answer *frames.Answer, header []hpack.HeaderField, err error) {
	answer, err = c.engine.client.Do(c.ctx, frames.Request{
		Fields: requestFields(c.ctx, c.exchange.Fields(), c.method), Body: encodeMessage(request), Stream: true,
	})
	if err != nil {
		return nil, nil, err
	}
	if header, err = answer.Header(c.ctx); err != nil {
		answer.Cancel()
		return nil, nil, err
	}
	return answer, header, nil
}

// request is the one message that the client sends.
func (c *interceptedCall) request() ([]byte, error) {
	message, err := receiveMessage(c.ctx, c.exchange, c.exchange.Fields())
	switch {
	case err == nil:
		c.observed.message(FromClient, message)
		return message, nil
	case errors.Is(err, io.EOF):
		return nil, status.Error(codes.Internal, "the client ended the call without sending a request")
	default:
		return nil, lost(c.ctx, err)
	}
}

// begin sends the headers of the answer.
func (c *interceptedCall) begin() {
	c.exchange.Header(beginFields(c.answerType(), c.header))
	c.header = nil
	c.begun = true
}

func (c *interceptedCall) send(message []byte) error {
	c.observed.message(FromRuntime, message)
	err := c.exchange.Data(c.ctx, encodeMessage(message))
	if err != nil {
		return lost(c.ctx, err)
	}
	return nil
}

// answerType returns the content type of the answer.
func (c *interceptedCall) answerType() string {
	if c.contentType == "" {
		return contentTypeOf(nil, c.exchange.Fields())
	}
	return c.contentType
}

// end sends the status of err. An answer that has not begun is one header block then.
func (c *interceptedCall) end(err error) {
	c.failure = expired(c.ctx, err)
	if err != nil && errors.Is(context.Cause(c.ctx), frames.ErrDismissed) {
		c.failure = errEnding
	}
	limit := listLimit
	if announced := c.exchange.HeaderListLimit(); announced > 0 {
		limit = min(limit, announced)
	}
	var begin []hpack.HeaderField
	if !c.begun {
		begin = beginFields(c.answerType(), nil)
	}
	c.failure = fitStatus(c.failure, listSize(begin)+listSize(endFields(nil, c.trailer)), limit)
	if err := c.exchange.End(append(begin, endFields(c.failure, c.trailer)...)); err != nil && c.failure == nil {
		c.failure = status.Error(codes.Canceled, "the client has gone")
	}
}

// invoke is the call's [intercept.Invoke].
func (c *interceptedCall) invoke(ctx context.Context, method string, request []byte) ([]byte, error) {
	header, trailer, response, err := c.engine.call(ctx, requestFields(ctx, c.exchange.Fields(), method), request)
	if method == c.method {
		c.mutex.Lock()
		c.header, c.trailer = applicationFields(header), applicationFields(trailer)
		c.contentType = contentTypeOf(append(header[:len(header):len(header)], trailer...), c.exchange.Fields())
		c.mutex.Unlock()
	}
	return response, err
}

// invoke calls the runtime for the shim itself, with the outgoing metadata of ctx.
func (e *framesEngine) invoke(ctx context.Context, method string, request []byte) ([]byte, error) {
	fields := requestFields(ctx, ownFields, method)
	sent, _ := metadata.FromOutgoingContext(ctx)
	for name, values := range sent {
		for _, value := range values {
			fields = append(fields, hpack.HeaderField{Name: name, Value: value})
		}
	}
	_, _, response, err := e.call(ctx, fields, request)
	return response, err
}

// ownFields are those of a call that no client has made.
var ownFields = []hpack.HeaderField{
	{Name: ":method", Value: "POST"},
	{Name: ":scheme", Value: "http"},
	{Name: ":path"},
	{Name: ":authority", Value: "localhost"},
	{Name: "content-type", Value: "application/grpc"},
	{Name: "user-agent", Value: "image-cri-shim"},
	{Name: "te", Value: "trailers"},
}

// call makes a unary call of the runtime.
func (e *framesEngine) call(ctx context.Context, fields []hpack.HeaderField, request []byte) (header, trailer []hpack.HeaderField, response []byte, err error) {
	answer, err := e.client.Do(ctx, frames.Request{Fields: fields, Body: encodeMessage(request)})
	if err != nil {
		return nil, nil, nil, lost(ctx, err)
	}
	header, trailer, body, err := answer.All(ctx)
	if err != nil {
		return header, nil, nil, lost(ctx, err)
	}
	if err = statusOf(header, trailer); err != nil {
		return header, trailer, nil, err
	}
	response, err = decodeOnly(body, header)
	return header, trailer, response, err
}

// lost is the status of a call that has come to no end of its own. What ctx says
// comes before whatever else it has caused.
func lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	if errors.Is(err, frames.ErrTooLarge) || errors.Is(err, frames.ErrAnswerTooLarge) {
		return status.Error(codes.ResourceExhausted, err.Error())
	}
	if reset, ok := errors.AsType[frames.ResetError](err); ok {
		if deadline, set := ctx.Deadline(); set && reset.Code == http2.ErrCodeCancel && time.Until(deadline) < deadlineTolerance {
			return status.FromContextError(context.DeadlineExceeded).Err()
		}
		return status.Error(resetCode(reset.Code), err.Error())
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Errorf(codes.Unavailable, "the runtime can't be asked: %v", err)
}

// deadlineTolerance is how much earlier than the shim the runtime may see a deadline pass,
// and cancel the call.
const deadlineTolerance = 10 * time.Millisecond

// resetCode is the code of a call whose stream was reset (gRPC over HTTP/2, "HTTP2
// Transport Mapping", Errors).
func resetCode(code http2.ErrCode) codes.Code {
	switch code {
	case http2.ErrCodeRefusedStream:
		return codes.Unavailable
	case http2.ErrCodeCancel:
		return codes.Canceled
	case http2.ErrCodeEnhanceYourCalm:
		return codes.ResourceExhausted
	case http2.ErrCodeInadequateSecurity:
		return codes.PermissionDenied
	default:
		return codes.Internal
	}
}
