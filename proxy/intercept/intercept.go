// Package intercept is the contract between a gRPC proxy and the code that answers or changes
// some of its calls. Messages are raw bytes: neither side needs the other's types.
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
// The response headers and trailers of the last call to the intercepted method
// itself are what the client receives.
type Invoke func(ctx context.Context, method string, request []byte) (response []byte, err error)

// Unary answers one call of a unary method in place of the runtime. request is
// what the client sent, decompressed and otherwise untouched, even where it is
// malformed; it must not be modified. To forward the call as it is, return what
// invoke returns for it. An error that carries a gRPC status reaches the client
// unchanged, except for an [AppendedError] that is too long.
//
// It is called from many goroutines at once and must return when ctx is done.
type Unary func(ctx context.Context, request []byte, invoke Invoke) (response []byte, err error)

// AppendedError is a runtime's error to whose text an [Unary] has appended one of its own.
// The appended text is cut if the client would not accept the header list otherwise.
type AppendedError interface {
	error
	// GRPCStatus returns the status with the whole text.
	GRPCStatus() *status.Status
	// Appended returns the end of the text that is not the runtime's.
	Appended() string
}

// Stream prepares one call of a method that answers with a stream of messages.
// It returns the request to forward and a function that is given each response
// message in order, from one goroutine, and returns what the client receives in
// its place. A nil transform forwards the messages as they are.
type Stream func(ctx context.Context, request []byte, invoke Invoke) (forward []byte, transform Transform, err error)

// Transform changes one message of a stream. It must not modify message, and
// may return it. It is called with nil once the stream has ended without an error, and
// its results are then ignored; a message without bytes is not nil.
type Transform func(message []byte) ([]byte, error)

// Pass looks at the request of a unary call. If it reports true, the call is forwarded as
// it is, and its answer goes through the returned [Restore], or passes as it comes where
// that is nil. Otherwise the method's [Unary] answers the call. The request is valid until
// it returns. It must not block.
type Pass func(request []byte) (Restore, bool)

// Forward decides about a unary call before its request is there. If it reports true, the
// call is forwarded as it comes, and [Forwarding] says what becomes of its answer. Otherwise
// the method's [Pass] or [Unary] decides. It must not block.
type Forward func() (Forwarding, bool)

// Forwarding is what becomes of the answer to a call that is forwarded as it comes.
type Forwarding struct {
	// Unchanged reports, from the first bytes of an answer, whether Restore would leave it
	// as it is. The answer then passes as it comes. Other calls of the client wait for it.
	Unchanged func(beginning []byte) bool
	// Restore changes the whole answer to a request, as [Restore] does.
	Restore func(ctx context.Context, request, response []byte, invoke Invoke) []byte
}

// Restore changes the answer of a call that was forwarded as it is. It must not modify
// response, and may return it. Other calls of the client may wait for it, so that it asks
// the runtime, through invoke, only where it must.
type Restore func(ctx context.Context, response []byte, invoke Invoke) []byte

// Interceptors names the methods that are not forwarded opaquely, by their full
// name ("/runtime.v1.ImageService/PullImage"). A method is in one of Unary and Stream
// at most. Pass and Forward are shorter ways for some calls of methods in Unary, which an
// engine may take and which must lead to the same answer. The maps must not change once they are
// in use.
type Interceptors struct {
	Unary   map[string]Unary
	Stream  map[string]Stream
	Pass    map[string]Pass
	Forward map[string]Forward
	Opaque  map[string]Opaque
}

// Opaque reports whether a call that begins now is forwarded as if its method were in
// none of the other maps of [Interceptors]. It must not block.
type Opaque func() bool

// IsOpaque reports whether a call of a method that begins now is forwarded untouched.
func (i Interceptors) IsOpaque(method string) bool {
	opaque := i.Opaque[method]
	return opaque != nil && opaque()
}

// RestoreTimeout bounds the time for which a [Restore] waits for the runtime: other calls of
// the client may wait for the restored answer.
const RestoreTimeout = 5 * time.Second
