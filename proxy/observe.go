package proxy

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/unixsocket"
)

// Observer observes the calls of all clients. Its methods are called from many goroutines at
// once and must not block: calls wait for them.
type Observer interface {
	// Begin is called when a call begins, with ID, Client, Method and Start set. It returns a
	// tap for the call's messages, or nil for none, which costs nothing.
	Begin(call *Call) Tap
	// End is called with the same call after it has ended. The call does not change afterwards.
	End(call *Call)
}

// Tap reads the messages of one call, as they pass between the client and the shim. Each
// direction calls it from its own goroutine. Messages in transit when the call ends may be
// reported after [Observer.End].
type Tap interface {
	// Wants is called when a message of length bytes begins. It returns the number of bytes to
	// pass to Message. If it returns 0, Message is not called.
	Wants(from Side, length int) int
	// Message is called with a wanted message or its beginning. message is valid only until
	// Message returns; length is that of the whole message. compressed reports whether message
	// is still compressed as the sender sent it.
	Message(from Side, message []byte, length int, compressed bool)
}

// Side is the sender of a message.
type Side int

const (
	FromClient  Side = iota // requests
	FromRuntime             // responses
)

// Call is one call of a client.
type Call struct {
	ID     uint64 // counted from the start of the process
	Client unixsocket.Peer
	Method string // full name, "/runtime.v1.RuntimeService/Version"
	Start  time.Time

	// Set when the call has ended.
	Duration  time.Duration
	Code      codes.Code
	Err       error // nil if Code is OK
	Requests  Volume
	Responses Volume
	// Unrestored reports that the answer was larger than the engine buffers, and was forwarded
	// without the changes of the method's interceptor.
	Unrestored bool
}

// Volume is the amount of data in one direction of a call.
type Volume struct {
	// Bytes counts messages including the five bytes that gRPC puts before each (gRPC over
	// HTTP/2, Length-Prefixed-Message), as the client sends and receives them. Messages that an
	// engine has decompressed count with that size.
	Bytes int64
}

// CallOf returns the running call to which an interceptor's ctx belongs, or nil without an
// observer.
func CallOf(ctx context.Context) *Call {
	call, _ := ctx.Value(callKey{}).(*Call)
	return call
}

type callKey struct{}

// observedCall reports a call to an observer. A nil observedCall reports nothing.
type observedCall struct {
	call       Call
	observer   Observer
	tap        Tap // may be nil
	bytes      [2]atomic.Int64
	unrestored atomic.Bool        // the answer was forwarded unchanged
	messages   [2]messageSplitter // for the tap
}

var lastCall atomic.Uint64

// newObservedCall begins a call. It returns nil without an observer.
func newObservedCall(observer Observer, client unixsocket.Peer, method string) *observedCall {
	if observer == nil {
		return nil
	}
	o := &observedCall{observer: observer, call: Call{ID: lastCall.Add(1), Client: client, Method: method, Start: time.Now()}}
	o.tap = observer.Begin(&o.call)
	return o
}

// context returns ctx with the call, for the call's interceptor.
func (o *observedCall) context(ctx context.Context) context.Context {
	if o == nil {
		return ctx
	}
	return context.WithValue(ctx, callKey{}, &o.call)
}

// addPiece adds a part of a body, which may begin and end inside a message.
func (o *observedCall) addPiece(from Side, piece []byte) {
	o.bytes[from].Add(int64(len(piece)))
	if o.tap != nil {
		o.messages[from].split(piece, from, o.tap)
	}
}

// addMessage adds a whole message, uncompressed.
func (o *observedCall) addMessage(from Side, message []byte) {
	if o == nil {
		return
	}
	o.bytes[from].Add(prefixLength + int64(len(message)))
	if o.tap != nil {
		if wanted := o.tap.Wants(from, len(message)); wanted > 0 {
			o.tap.Message(from, message[:min(wanted, len(message))], len(message), false)
		}
	}
}

// markUnrestored records that the answer was forwarded unchanged.
func (o *observedCall) markUnrestored() {
	if o != nil {
		o.unrestored.Store(true)
	}
}

// end ends the call with the error that the client gets.
func (o *observedCall) end(err error) {
	if o == nil {
		return
	}
	o.call.Duration = time.Since(o.call.Start)
	o.call.Code, o.call.Err = status.Code(err), err
	o.call.Unrestored = o.unrestored.Load()
	o.call.Requests.Bytes, o.call.Responses.Bytes = o.bytes[FromClient].Load(), o.bytes[FromRuntime].Load()
	o.observer.End(&o.call)
}
