package proxy

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/intercept"
)

// grpcInterceptedCall is one call that an interceptor of the grpc engine answers.
type grpcInterceptedCall struct {
	runtime *grpc.ClientConn
	stream  grpc.ServerStream
	ctx     context.Context // the client's, for calls to the runtime
	method  string
	options []grpc.CallOption

	mutex           sync.Mutex
	header, trailer metadata.MD // of the last call to method
}

func (e *grpcEngine) intercept(stream grpc.ServerStream, method string) *grpcInterceptedCall {
	ctx := stream.Context()
	return &grpcInterceptedCall{
		runtime: e.runtime,
		stream:  stream,
		ctx:     outgoing(ctx),
		method:  method,
		options: callOptions(ctx),
	}
}

// request returns the one message that the client sends.
func (c *grpcInterceptedCall) request() ([]byte, error) {
	var request rawMessage
	if err := c.stream.RecvMsg(&request); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, status.Error(codes.Internal, "the client ended the call without sending a request")
		}
		return nil, err
	}
	return request.consume(), nil
}

// unary answers the call with handle.
func (c *grpcInterceptedCall) unary(handle intercept.Unary) error {
	request, err := c.request()
	if err != nil {
		return err
	}
	response, err := handle(c.ctx, request, c.invoke)
	c.mutex.Lock()
	header, trailer := c.header, c.trailer
	c.mutex.Unlock()
	c.stream.SetTrailer(trailer)
	if len(header) > 0 {
		if err := c.stream.SetHeader(header); err != nil {
			return c.statusOfFailure(err)
		}
	}
	if err != nil {
		return fitStatus(err, headerListSize(beginFields("application/grpc+proto", endFields(nil, nil)))+metadataSize(trailer), headerListLimit)
	}
	return c.stream.SendMsg(newRawMessage(response))
}

// serverStream lets handle change the request and each response message.
func (c *grpcInterceptedCall) serverStream(handle intercept.Stream) error {
	request, err := c.request()
	if err != nil {
		return err
	}
	forward, transform, err := handle(c.ctx, request, c.invoke)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	upstream, err := c.runtime.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, c.method, c.options...)
	if err != nil {
		return err
	}
	// If one of these two fails, the call has ended and RecvMsg returns its status.
	if upstream.SendMsg(newRawMessage(forward)) == nil {
		_ = upstream.CloseSend()
	}
	if header, err := upstream.Header(); err == nil && header != nil {
		if err := c.stream.SendHeader(header); err != nil {
			return c.statusOfFailure(err)
		}
	}
	return c.relay(upstream, transform)
}

// statusOfFailure returns the status of a call after sending its answer failed with err. If the
// client's call is done, its status takes precedence, since it may have caused err.
func (c *grpcInterceptedCall) statusOfFailure(err error) error {
	if c.ctx.Err() != nil {
		return status.FromContextError(c.ctx.Err()).Err()
	}
	return err
}

// relay relays upstream's answer to the client, changed by transform, until it ends.
func (c *grpcInterceptedCall) relay(upstream grpc.ClientStream, transform intercept.Transform) error {
	for {
		var message rawMessage
		if err := upstream.RecvMsg(&message); err != nil {
			c.stream.SetTrailer(upstream.Trailer())
			if !errors.Is(err, io.EOF) {
				return err
			}
			if transform != nil {
				_, _ = transform(nil)
			}
			return nil
		}
		if transform != nil {
			changed, err := transform(notNil(message.consume()))
			if err != nil {
				return err
			}
			message = *newRawMessage(changed)
		}
		if err := c.stream.SendMsg(&message); err != nil {
			return err
		}
	}
}

// invoke is the [intercept.Invoke] of the call.
func (c *grpcInterceptedCall) invoke(ctx context.Context, method string, request []byte) ([]byte, error) {
	var response rawMessage
	var header, trailer metadata.MD
	options := append(c.options[:len(c.options):len(c.options)], grpc.Header(&header), grpc.Trailer(&trailer))
	err := c.runtime.Invoke(ctx, method, newRawMessage(request), &response, options...)
	if method == c.method {
		c.mutex.Lock()
		c.header, c.trailer = header, trailer
		c.mutex.Unlock()
	}
	if err != nil {
		return nil, err
	}
	return response.consume(), nil
}
