package proxy

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/frames"
	"image-cri-shim/proxy/intercept"
)

// passRestoration returns the restoration of a call that pass forwards unchanged, or nil if the
// call must be intercepted.
func (e *framesEngine) passRestoration(pass intercept.Pass, o *observedCall, fields []hpack.HeaderField, body []byte) *frames.Restoration {
	request, ok := singleMessage(body)
	if !ok {
		return nil
	}
	restore, ok := pass(request)
	if !ok {
		return nil
	}
	if restore == nil {
		return &frames.Restoration{Fields: fields}
	}
	restorer := answerRestorer{engine: e, restore: restore, observed: o}
	return &frames.Restoration{Fields: decodable(fields), Restore: restorer.answer, Skipped: o.markUnrestored}
}

// forwardRestoration returns the restoration of a call that is forwarded before its request is
// complete.
func (e *framesEngine) forwardRestoration(forwarding intercept.Forwarding, o *observedCall, fields []hpack.HeaderField) *frames.Restoration {
	return &frames.Restoration{
		Fields:  decodable(fields),
		Skipped: o.markUnrestored,
		Unchanged: func(beginning []byte) bool {
			return len(beginning) > prefixLength && beginning[0] == 0 && forwarding.Unchanged(beginning[prefixLength:])
		},
		Restore: func(ctx context.Context, of frames.Answered, mayBlock bool) (frames.Restored, error) {
			request, ok := singleMessage(of.Request)
			if !ok {
				return frames.Restored{Body: of.Body}, nil // the runtime has answered the malformed request
			}
			restorer := answerRestorer{engine: e, observed: o, restore: func(ctx context.Context, response []byte, invoke intercept.Invoke) []byte {
				return forwarding.Restore(ctx, request, response, invoke)
			}}
			return restorer.answer(ctx, of, mayBlock)
		},
	}
}

// answerRestorer restores the answer of one call.
type answerRestorer struct {
	engine   *framesEngine
	restore  intercept.Restore
	observed *observedCall
}

// answer implements [frames.Restorer].
func (a answerRestorer) answer(ctx context.Context, of frames.Answered, mayBlock bool) (frames.Restored, error) {
	header, body := of.Header, of.Body
	response, err := decodeSingle(body, header)
	if encoding := frames.Field(header, "grpc-encoding"); err != nil && !knownEncoding(encoding) {
		// The runtime was not offered this encoding. The answer can't be restored without decoding it.
		err := status.Errorf(codes.Internal, "runtime answered with grpc-encoding %.20q, which the request did not accept", encoding)
		return frames.Restored{Trailer: endFields(err, nil)}, nil
	}
	if err != nil {
		return frames.Restored{Body: body}, nil // the malformed answer is left to the client
	}
	asks := false
	invoke := a.engine.invokeWithTimeout
	if !mayBlock {
		invoke = func(context.Context, string, []byte) ([]byte, error) {
			asks = true
			return nil, frames.ErrWouldBlock
		}
	}
	restored := a.restore(a.observed.context(ctx), response, invoke)
	switch {
	case asks:
		return frames.Restored{}, frames.ErrWouldBlock
	case sameBytes(restored, response):
		return frames.Restored{Body: body}, nil
	default:
		return frames.Restored{Body: encodeMessage(restored)}, nil
	}
}

// invokeWithTimeout is invoke with its own timeout, since the client is waiting for an answer
// that the runtime has already given.
func (e *framesEngine) invokeWithTimeout(ctx context.Context, method string, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, intercept.RestoreTimeout)
	defer cancel()
	return e.invoke(ctx, method, request)
}

// decodable returns the header fields of a request with an answer that must be decoded: they
// offer the runtime only encodings that the shim can decode.
func decodable(fields []hpack.HeaderField) []hpack.HeaderField {
	at := slices.IndexFunc(fields, func(f hpack.HeaderField) bool { return f.Name == "grpc-accept-encoding" })
	if at < 0 || allKnown(fields[at].Value) {
		return fields
	}
	fields = slices.Clone(fields)
	if fields[at].Value = knownEncodings(fields[at].Value); fields[at].Value == "" {
		return slices.Delete(fields, at, at+1)
	}
	return fields
}

// allKnown reports whether the shim can decode every encoding in a list.
func allKnown(list string) bool {
	for encoding := range strings.SplitSeq(list, ",") {
		if !knownEncoding(strings.TrimSpace(encoding)) {
			return false
		}
	}
	return true
}

// knownEncodings returns the encodings in a list that the shim can decode.
func knownEncodings(list string) string {
	var known []string
	for encoding := range strings.SplitSeq(list, ",") {
		if encoding = strings.TrimSpace(encoding); encoding != "" && knownEncoding(encoding) {
			known = append(known, encoding)
		}
	}
	return strings.Join(known, ",")
}

func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// singleMessage returns the message of a body that consists of one uncompressed message.
func singleMessage(body []byte) ([]byte, bool) {
	if len(body) < prefixLength || body[0] != 0 || uint64(len(body)) != prefixLength+uint64(binary.BigEndian.Uint32(body[1:])) {
		return nil, false
	}
	return body[prefixLength:], true
}
