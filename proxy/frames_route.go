package proxy

import (
	"context"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/frames"
	"image-cri-shim/proxy/intercept"
	"image-cri-shim/unixsocket"
)

// clientConnection is the connection of one client.
type clientConnection struct {
	*framesEngine
	client unixsocket.Peer
}

// route returns the plan for a call with the given header fields.
func (c clientConnection) route(fields []hpack.HeaderField) frames.Plan {
	method := frames.Field(fields, ":path")
	o := newObservedCall(c.observer, c.client, method)
	plan := frames.Plan{Unbounded: c.unbounded.has(method)}
	if o != nil {
		timeout := frames.Field(fields, "grpc-timeout")
		plan.Watch = func(from frames.Side, piece []byte) { o.addPiece(Side(from), piece) }
		plan.Ended = func(outcome frames.Outcome) {
			o.end(statusOfEnd(outcomeError(outcome), deadlineOf(o.call.Start, timeout)))
		}
	}
	unary, stream := c.interceptors.Unary[method], c.interceptors.Stream[method]
	if unary == nil && stream == nil || c.interceptors.IsOpaque(method) {
		return plan
	}
	if !canDecode(fields) {
		plan.Handler = func(_ context.Context, exchange *frames.Exchange) { o.end(refuseEncoding(exchange)) }
		return plan
	}
	if forward := c.interceptors.Forward[method]; forward != nil && isPlain(fields) {
		if forwarding, ok := forward(); ok {
			plan.Restoration = c.forwardRestoration(forwarding, o, fields)
			return plan
		}
	}
	plan.Handler = c.handler(method, o, unary, stream)
	if pass := c.interceptors.Pass[method]; pass != nil {
		plan.Decide = func(fields []hpack.HeaderField, body []byte) *frames.Restoration {
			return c.passRestoration(pass, o, fields, body)
		}
	}
	return plan
}

// handler returns the handler of a call that unary intercepts, or stream if unary is nil.
func (c clientConnection) handler(method string, o *observedCall, unary intercept.Unary, stream intercept.Stream) frames.Handler {
	return func(ctx context.Context, exchange *frames.Exchange) {
		ctx, cancel := withTimeout(o.context(ctx), exchange.Fields())
		defer cancel()
		call := &framesInterceptedCall{engine: c.framesEngine, exchange: exchange, ctx: ctx, method: method, observed: o}
		if unary != nil {
			call.unary(unary)
		} else {
			call.serverStream(stream)
		}
		deadline, _ := ctx.Deadline()
		o.end(statusOfEnd(call.failure, deadline))
	}
}

// refuseEncoding rejects a request to an intercepted method with an unknown encoding, as gRPC
// servers do (gRPC over HTTP/2, "Compression"). The request must not reach the runtime, since
// the names in it were not rewritten.
func refuseEncoding(exchange *frames.Exchange) error {
	err := status.Errorf(codes.Unimplemented, "requests with the grpc-encoding %.20q are not accepted", frames.Field(exchange.Fields(), "grpc-encoding"))
	accepted := []hpack.HeaderField{{Name: "grpc-accept-encoding", Value: "identity,gzip,deflate"}}
	fields := beginFields(contentTypeOf(nil, exchange.Fields()), endFields(err, accepted))
	_ = exchange.End(fields) // it fails only if the client has disconnected
	return err
}

// outcomeError returns the error that the client of a relayed call gets, or nil.
func outcomeError(outcome frames.Outcome) error {
	switch outcome.End {
	case frames.Complete:
		return statusOf(nil, outcome.Fields)
	case frames.ServerReset:
		return status.Errorf(resetCode(outcome.Code), "runtime reset the call: %v", outcome.Code)
	case frames.Shutdown:
		return errShuttingDown
	case frames.ServerDisconnected:
		return errRuntimeDisconnected
	default:
		return status.Error(codes.Canceled, "client canceled the call")
	}
}
