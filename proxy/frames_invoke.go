package proxy

import (
	"context"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/metadata"

	"image-cri-shim/proxy/frames"
)

// invoke makes a call of the shim's own to the runtime, with the outgoing metadata of ctx.
func (e *framesEngine) invoke(ctx context.Context, method string, request []byte) ([]byte, error) {
	fields := requestFields(ctx, ownFields, method)
	sent, _ := metadata.FromOutgoingContext(ctx)
	for name, values := range sent {
		for _, value := range values {
			fields = append(fields, hpack.HeaderField{Name: name, Value: value})
		}
	}
	_, _, response, err := e.callRuntime(ctx, fields, request)
	return response, err
}

// ownFields are the header fields of the shim's own calls.
var ownFields = []hpack.HeaderField{
	{Name: ":method", Value: "POST"},
	{Name: ":scheme", Value: "http"},
	{Name: ":path"},
	{Name: ":authority", Value: "localhost"},
	{Name: "content-type", Value: "application/grpc"},
	{Name: "user-agent", Value: "image-cri-shim"},
	{Name: "te", Value: "trailers"},
}

// callRuntime makes a unary call to the runtime.
func (e *framesEngine) callRuntime(ctx context.Context, fields []hpack.HeaderField, request []byte) (header, trailer []hpack.HeaderField, response []byte, err error) {
	answer, err := e.client.Do(ctx, frames.Request{Fields: fields, Body: encodeMessage(request)})
	if err != nil {
		return nil, nil, nil, statusOfFailure(ctx, err)
	}
	header, trailer, body, err := answer.All(ctx)
	if err != nil {
		return header, nil, nil, statusOfFailure(ctx, err)
	}
	if err = statusOf(header, trailer); err != nil {
		return header, trailer, nil, err
	}
	response, err = decodeSingle(body, header)
	return header, trailer, response, err
}
