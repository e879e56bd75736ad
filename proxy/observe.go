package proxy

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/unixsocket"
)

// Observer is told of the calls of all clients. Its methods are called from many
// goroutines at once and must not block: calls wait for them.
type Observer interface {
	// Begin is told of a call that begins: ID, Client, Method and Start are set. It
	// returns what looks at the call's messages; nil, where nobody does, costs nothing.
	Begin(call *Call) Tap
	// End is told of the same call when it has ended. The call does not change any more.
	End(call *Call)
}

// Tap looks at the messages of one call, as they are between the client and the shim.
// The two directions call it from a goroutine each. Messages that are on their way when
// the call ends may come after [Observer.End].
type Tap interface {
	// Wants is told of each message that begins, and of its length in bytes. It returns
	// how many bytes of it Message is to be given; with 0 it is not given the message.
	Wants(from Side, length int) int
	// Message is given a wanted message, or its beginning, which is valid until it returns.
	// Compressed says that the message is as the sender has compressed it.
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

// CallOf returns the call that an interceptor's ctx belongs to, which has not ended; nil
// for one that no observer was told of.
func CallOf(ctx context.Context) *Call {
	call, _ := ctx.Value(callKey{}).(*Call)
	return call
}

type callKey struct{}

// observed is a call that an observer is told of. A nil one is told to nobody.
type observed struct {
	call     Call
	observer Observer
	tap      Tap // nil where nobody looks
	bytes    [2]atomic.Int64
	skip     atomic.Bool        // the answer was passed on unchanged
	messages [2]messageSplitter // of the tap
}

var lastCall atomic.Uint64

// observe begins a call.
func observe(observer Observer, client unixsocket.Peer, method string) *observed {
	if observer == nil {
		return nil
	}
	o := &observed{observer: observer, call: Call{ID: lastCall.Add(1), Client: client, Method: method, Start: time.Now()}}
	o.tap = observer.Begin(&o.call)
	return o
}

// context is that of the call's interceptor.
func (o *observed) context(ctx context.Context) context.Context {
	if o == nil {
		return ctx
	}
	return context.WithValue(ctx, callKey{}, &o.call)
}

// piece is a part of a body, wherever its messages begin and end.
func (o *observed) piece(from Side, piece []byte) {
	o.bytes[from].Add(int64(len(piece)))
	if o.tap != nil {
		o.messages[from].split(piece, from, o.tap)
	}
}

// message is a whole message, which is not compressed.
func (o *observed) message(from Side, message []byte) {
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

// skipped notes that the answer was passed on without being changed.
func (o *observed) skipped() {
	if o != nil {
		o.skip.Store(true)
	}
}

// end ends the call with what the client gets.
func (o *observed) end(err error) {
	if o == nil {
		return
	}
	o.call.Duration = time.Since(o.call.Start)
	o.call.Code, o.call.Err = status.Code(err), err
	o.call.Unrestored = o.skip.Load()
	o.call.Requests.Bytes, o.call.Responses.Bytes = o.bytes[FromClient].Load(), o.bytes[FromRuntime].Load()
	o.observer.End(&o.call)
}
