package proxy

import (
	"context"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"

	"image-cri-shim/proxy/frames"
)

// The header fields of gRPC: "gRPC over HTTP2" (PROTOCOL-HTTP2.md in grpc/grpc).

// requestFields returns the client's header fields for another call, to method, on its behalf.
func requestFields(ctx context.Context, of []hpack.HeaderField, method string) []hpack.HeaderField {
	fields := make([]hpack.HeaderField, 0, len(of)+1)
	for _, field := range of {
		switch field.Name {
		case "grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "content-length":
			continue // negotiated per hop, or no longer valid
		case ":path":
			field.Value = method
		}
		fields = append(fields, field)
	}
	if deadline, set := ctx.Deadline(); set {
		fields = append(fields, hpack.HeaderField{Name: "grpc-timeout", Value: formatTimeout(time.Until(deadline))})
	}
	return fields
}

// applicationFields returns the fields of an answer that the application has set. It returns
// nil only if fields is empty.
func applicationFields(fields []hpack.HeaderField) []hpack.HeaderField {
	if len(fields) == 0 {
		return nil
	}
	kept := make([]hpack.HeaderField, 0, len(fields))
	for _, field := range fields {
		switch field.Name {
		case "content-type", "grpc-encoding", "grpc-accept-encoding", "grpc-status", "grpc-message", "grpc-status-details-bin", "content-length":
		default:
			if !strings.HasPrefix(field.Name, ":") {
				kept = append(kept, field)
			}
		}
	}
	return kept
}

// contentTypeOf returns the content type of an answer: the runtime's if it is known, otherwise
// the request's, which gRPC servers repeat.
func contentTypeOf(runtime, request []hpack.HeaderField) string {
	for _, fields := range [][]hpack.HeaderField{runtime, request} {
		if text := frames.Field(fields, "content-type"); strings.HasPrefix(text, "application/grpc") {
			return text
		}
	}
	return "application/grpc"
}

// beginFields returns the header fields at the beginning of an answer.
func beginFields(contentType string, application []hpack.HeaderField) []hpack.HeaderField {
	return append([]hpack.HeaderField{{Name: ":status", Value: "200"}, {Name: "content-type", Value: contentType}}, application...)
}

// endFields returns the trailer fields of an answer.
func endFields(err error, application []hpack.HeaderField) []hpack.HeaderField {
	return append(statusFields(err), application...)
}
