// Package intercept defines the contract between a gRPC proxy and the code that answers or
// changes some of its calls. Messages are raw bytes, so neither side needs the other's types.
package intercept

import (
	"context"
	"time"

	"google.golang.org/grpc/status"
)

// Invoke calls a unary method of the runtime with a raw request and returns the
// raw response. ctx must be the interceptor's or derived from it: it carries
// the client's metadata, deadline and cancellation. An error is the runtime's
// own gRPC status, details included. It is safe for concurrent use.
//
// The client receives the response headers and trailers of the last call to the
// intercepted method itself.
type Invoke func(ctx context.Context, method string, request []byte) (response []byte, err error)

// Unary answers one call of a unary method in place of the runtime. request is the client's
// message, decompressed and otherwise untouched, even if it is malformed. It must not be
// modified. To forward the call unchanged, return the results of invoke. An error with a gRPC
// status reaches the client unchanged, except for an [AppendedError] that is too long.
//
// It is called from many goroutines at once and must return when ctx is done.
type Unary func(ctx context.Context, request []byte, invoke Invoke) (response []byte, err error)

// AppendedError is an error of the runtime with text that a [Unary] has appended. The appended
// text is shortened if the client would otherwise reject the header list.
type AppendedError interface {
	error
	// GRPCStatus returns the status with the whole text.
	GRPCStatus() *status.Status
	// Appended returns the appended text, which is the end of the status message.
	Appended() string
}

// Stream prepares one call of a method that answers with a stream of messages. It returns the
// request to forward and a transform. The transform is called with each response message in
// order, from one goroutine, and the client receives its results instead. A nil transform
// leaves the messages unchanged.
type Stream func(ctx context.Context, request []byte, invoke Invoke) (forward []byte, transform Transform, err error)

// Transform changes one message of a stream. It must not modify message, but may return it.
// After a stream has ended without an error, it is called with nil and its results are ignored.
// An empty message is not nil.
type Transform func(message []byte) ([]byte, error)

// Pass inspects the request of a unary call. If it reports true, the call is forwarded
// unchanged, and the returned [Restore] changes the answer; a nil Restore leaves the answer
// unchanged. If it reports false, the method's [Unary] answers the call. request is valid only
// until Pass returns. Pass must not block.
type Pass func(request []byte) (Restore, bool)

// Forward decides about a unary call before its request has arrived. If it reports true, the
// call is forwarded as it arrives, and the returned [Forwarding] handles the answer. If it
// reports false, the method's [Pass] or [Unary] decides. Forward must not block.
type Forward func() (Forwarding, bool)

// Forwarding handles the answer to a call that is forwarded as it arrives.
type Forwarding struct {
	// Unchanged reports, from the first bytes of an answer, whether Restore would leave it
	// unchanged. If so, the answer is relayed as it arrives. Other calls of the client wait for
	// Unchanged.
	Unchanged func(beginning []byte) bool
	// Restore changes the whole answer to a request, as [Restore] does.
	Restore func(ctx context.Context, request, response []byte, invoke Invoke) []byte
}

// Restore changes the answer of a call that was forwarded unchanged. It must not modify
// response, but may return it. Other calls of the client may wait for it, so it should call the
// runtime through invoke only if it must.
type Restore func(ctx context.Context, response []byte, invoke Invoke) []byte

// Interceptors maps the methods that are not forwarded opaquely, by their full name
// ("/runtime.v1.ImageService/PullImage"), to the functions that handle them. A method may be in
// either Unary or Stream, not in both. Pass and Forward are shortcuts for some calls of methods
// in Unary. An engine may use them, and they must lead to the same answer. The maps must not
// change once they are in use.
type Interceptors struct {
	Unary   map[string]Unary
	Stream  map[string]Stream
	Pass    map[string]Pass
	Forward map[string]Forward
	Opaque  map[string]Opaque
}

// Opaque reports whether a call that begins now is forwarded as if its method were in none of
// the other maps of [Interceptors]. It must not block.
type Opaque func() bool

// IsOpaque reports whether a call of a method that begins now is forwarded untouched.
func (i Interceptors) IsOpaque(method string) bool {
	opaque := i.Opaque[method]
	return opaque != nil && opaque()
}

// RestoreTimeout bounds each wait of a [Restore] for the runtime, since other calls of the
// client may wait for the restored answer.
const RestoreTimeout = 5 * time.Second
