package proxy

import (
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/frames"
	"image-cri-shim/proxy/intercept"
)

// framesInterceptedCall is one call that an interceptor of the frame engine answers.
type framesInterceptedCall struct {
	engine     *framesEngine
	exchange   *frames.Exchange
	ctx        context.Context // with the call's deadline
	method     string
	observed   *observedCall
	headerSent bool
	failure    error // error that the client got; nil on success

	mutex           sync.Mutex
	header, trailer []hpack.HeaderField // of the last call to method
	contentType     string              // of the runtime's answer to it
}

// unary answers the call with handle.
func (c *framesInterceptedCall) unary(handle intercept.Unary) {
	request, err := c.request()
	if err != nil {
		c.end(err)
		return
	}
	response, err := handle(c.ctx, request, c.invoke)
	if err == nil {
		c.sendHeader()
		err = c.send(response)
	} else if c.header != nil {
		c.sendHeader()
	}
	c.end(err)
}

// serverStream lets handle change the request and each response message.
func (c *framesInterceptedCall) serverStream(handle intercept.Stream) {
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

// relay forwards request to the runtime and relays the answer to the client, changed by
// transform, until it ends. It returns the status of the call.
func (c *framesInterceptedCall) relay(request []byte, transform intercept.Transform) error {
	answer, header, err := c.openStream(request)
	if err != nil {
		return statusOfFailure(c.ctx, err)
	}
	defer answer.Cancel()
	if len(header) > 0 {
		c.header, c.contentType = applicationFields(header), contentTypeOf(header, c.exchange.Fields())
		c.sendHeader()
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
			return statusOfFailure(c.ctx, err)
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

// notNil returns message, or an empty message for nil. To an [intercept.Transform], nil means
// the end of the stream.
func notNil(message []byte) []byte {
	if message == nil {
		return []byte{}
	}
	return message
}

// openStream begins a call to the runtime that is answered with a stream.
func (c *framesInterceptedCall) openStream(request []byte) (answer *frames.Answer, header []hpack.HeaderField, err error) {
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

// request returns the one message that the client sends.
func (c *framesInterceptedCall) request() ([]byte, error) {
	message, err := receiveMessage(c.ctx, c.exchange, c.exchange.Fields())
	switch {
	case err == nil:
		c.observed.addMessage(FromClient, message)
		return message, nil
	case errors.Is(err, io.EOF):
		return nil, status.Error(codes.Internal, "the client ended the call without sending a request")
	default:
		return nil, statusOfFailure(c.ctx, err)
	}
}

// sendHeader sends the headers of the answer.
func (c *framesInterceptedCall) sendHeader() {
	c.exchange.Header(beginFields(c.answerType(), c.header))
	c.header = nil
	c.headerSent = true
}

func (c *framesInterceptedCall) send(message []byte) error {
	c.observed.addMessage(FromRuntime, message)
	err := c.exchange.Data(c.ctx, encodeMessage(message))
	if err != nil {
		return statusOfFailure(c.ctx, err)
	}
	return nil
}

// answerType returns the content type of the answer.
func (c *framesInterceptedCall) answerType() string {
	if c.contentType == "" {
		return contentTypeOf(nil, c.exchange.Fields())
	}
	return c.contentType
}

// end ends the answer with the status of err. If no header was sent, the answer is one header
// block.
func (c *framesInterceptedCall) end(err error) {
	deadline, _ := c.ctx.Deadline()
	c.failure = statusOfEnd(err, deadline)
	if err != nil && errors.Is(context.Cause(c.ctx), frames.ErrShutdown) {
		c.failure = errShuttingDown
	}
	limit := headerListLimit
	if announced := c.exchange.HeaderListLimit(); announced > 0 {
		limit = min(limit, announced)
	}
	var begin []hpack.HeaderField
	if !c.headerSent {
		begin = beginFields(c.answerType(), nil)
	}
	c.failure = fitStatus(c.failure, headerListSize(begin)+headerListSize(endFields(nil, c.trailer)), limit)
	if err := c.exchange.End(append(begin, endFields(c.failure, c.trailer)...)); err != nil && c.failure == nil {
		c.failure = status.Error(codes.Canceled, "client disconnected")
	}
}

// invoke is the [intercept.Invoke] of the call.
func (c *framesInterceptedCall) invoke(ctx context.Context, method string, request []byte) ([]byte, error) {
	header, trailer, response, err := c.engine.callRuntime(ctx, requestFields(ctx, c.exchange.Fields(), method), request)
	if method == c.method {
		c.mutex.Lock()
		c.header, c.trailer = applicationFields(header), applicationFields(trailer)
		c.contentType = contentTypeOf(append(header[:len(header):len(header)], trailer...), c.exchange.Fields())
		c.mutex.Unlock()
	}
	return response, err
}
