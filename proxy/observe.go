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
	// tap for the call's messages, or nil, which costs nothing.
	Begin(call *Call) Tap
	// End is called with the same call when it has ended. The call does not change any more.
	End(call *Call)
}

// Tap reads the messages of one call, as they pass between the client and the shim. Each
// direction calls it from a goroutine of its own. Messages that are in transit when the call
// ends may come after [Observer.End].
type Tap interface {
	// Wants is called when a message of length bytes begins. It returns the number of bytes to
	// pass to Message; with 0 Message is not called.
	Wants(from Side, length int) int
	// Message is called with a wanted message, or its beginning, which is valid until it
	// returns. compressed reports that the message is as the sender has compressed it.
	Message(from Side, message []byte, length int, compressed bool)
}

// Side is an end of a call.
type Side int

const (
	FromClient  Side = iota // requests
	FromRuntime             // responses
)

// Call is one call of a client.
type Call struct {
	ID     uint64 // counted since the process began
	Client unixsocket.Peer
	Method string // full name, "/runtime.v1.RuntimeService/Version"
	Start  time.Time

	// Set when it has ended.
	Duration  time.Duration
	Code      codes.Code
	Err       error // nil where Code is OK
	Requests  Volume
	Responses Volume
	// Unrestored says that the answer was larger than an engine keeps, and was passed on
	// without the change that the method's interceptor makes.
	Unrestored bool
}

// Volume is what passed in one direction of a call.
type Volume struct {
	// Bytes are those of messages with the five bytes that gRPC puts before each (gRPC
	// over HTTP/2, Length-Prefixed-Message), as the client sends and gets them. What an
	// engine has decompressed counts as that.
	Bytes int64
}

// CallOf returns the running call that an interceptor's ctx belongs to; nil without an
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
	unrestored atomic.Bool        // the answer was passed on unchanged
	messages   [2]messageSplitter // of the tap
}

var lastCall atomic.Uint64

// newObservedCall begins a call; it returns nil without an observer.
func newObservedCall(observer Observer, client unixsocket.Peer, method string) *observedCall {
	if observer == nil {
		return nil
	}
	o := &observedCall{observer: observer, call: Call{ID: lastCall.Add(1), Client: client, Method: method, Start: time.Now()}}
	o.tap = observer.Begin(&o.call)
	return o
}

// context returns the context of the call's interceptor.
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

// addMessage adds a whole message, which is not compressed.
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

// markUnrestored records that the answer was passed on without being changed.
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
