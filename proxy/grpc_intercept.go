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

// intercepted is one call that an interceptor answers.
type intercepted struct {
	runtime *grpc.ClientConn
	stream  grpc.ServerStream
	ctx     context.Context // the client's, fit for calls to the runtime
	method  string
	options []grpc.CallOption

	mutex           sync.Mutex
	header, trailer metadata.MD // of the last call to method
}

func (e *grpcEngine) intercept(stream grpc.ServerStream, method string) *intercepted {
	ctx := stream.Context()
	return &intercepted{
		runtime: e.runtime,
		stream:  stream,
		ctx:     outgoing(ctx),
		method:  method,
		options: callOptions(ctx),
	}
}

// request is the one message that the client sends.
func (c *intercepted) request() ([]byte, error) {
	var request frame
	if err := c.stream.RecvMsg(&request); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, status.Error(codes.Internal, "the client ended the call without sending a request")
		}
		return nil, err
	}
	return request.take(), nil
}

// unary lets handle answer the call.
func (c *intercepted) unary(handle intercept.Unary) error {
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
			return c.lost(err)
		}
	}
	if err != nil {
		return fitStatus(err, listSize(beginFields("application/grpc+proto", endFields(nil, nil)))+metadataSize(trailer), listLimit)
	}
	return c.stream.SendMsg(newFrame(response))
}

// serverStream lets handle change the request and each response message.
func (c *intercepted) serverStream(handle intercept.Stream) error {
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
	// An error of these two is the end of the call, whose status Recv returns.
	if upstream.SendMsg(newFrame(forward)) == nil {
		_ = upstream.CloseSend()
	}
	if header, err := upstream.Header(); err == nil && header != nil {
		if err := c.stream.SendHeader(header); err != nil {
			return c.lost(err)
		}
	}
	return c.relay(upstream, transform)
}

// lost returns why an answer can't be sent: the end of the client's call comes before the
// error that it has caused.
func (c *intercepted) lost(err error) error {
	if c.ctx.Err() != nil {
		return status.FromContextError(c.ctx.Err()).Err()
	}
	return err
}

// relay sends what upstream answers to the client, to its end.
func (c *intercepted) relay(upstream grpc.ClientStream, transform intercept.Transform) error {
	for {
		var message frame
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
			changed, err := transform(notNil(message.take()))
			if err != nil {
				return err
			}
			message = *newFrame(changed)
		}
		if err := c.stream.SendMsg(&message); err != nil {
			return err
		}
	}
}

// invoke is the call's [intercept.Invoke].
func (c *intercepted) invoke(ctx context.Context, method string, request []byte) ([]byte, error) {
	var response frame
	var header, trailer metadata.MD
	options := append(c.options[:len(c.options):len(c.options)], grpc.Header(&header), grpc.Trailer(&trailer))
	err := c.runtime.Invoke(ctx, method, newFrame(request), &response, options...)
	if method == c.method {
		c.mutex.Lock()
		c.header, c.trailer = header, trailer
		c.mutex.Unlock()
	}
	if err != nil {
		return nil, err
	}
	return response.take(), nil
}
