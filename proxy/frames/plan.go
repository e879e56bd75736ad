package frames

import (
	"context"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Route decides what becomes of a request when its header fields are complete, which are
// valid until it returns. Neither it nor what it returns may block, but for the handler:
// everything on the connection waits for them.
type Route func(fields []hpack.HeaderField) Plan

// Plan decides how a request is handled. The zero Plan relays it as it comes.
type Plan struct {
	// Handler intercepts the request: it runs in a goroutine of its own, when the body
	// begins, and the server does not see the request.
	Handler Handler
	// Restore is called with the header fields and the body of a request that has a
	// handler, if the whole body has come at once, before the handler begins. If it returns
	// a restoration the request is relayed after all, and its answer is changed.
	Restore func(fields []hpack.HeaderField, body []byte) *Restoration
	// Restoration, where it is not nil, lets a request without a handler pass as it comes,
	// and says what becomes of its answer.
	Restoration *Restoration
	// Watch is shown the bodies of a relayed request and of its answer as the client sends
	// and gets them, in pieces that are valid until it returns. It is called for the two
	// from a goroutine each.
	Watch func(from Side, piece []byte)
	// Ended is called once when the request has ended, but for one that its handler
	// has begun with. Pieces of the request's body may still come after it.
	Ended func(Outcome)
	// Unbounded marks a request that may never end. Drain does not wait for it.
	// CloseStreaming resets it, or cancels its handler's context with ErrShutdown; the
	// handler may still answer.
	Unbounded bool
}

// Handler answers an intercepted request. ctx ends when the client resets the request or
// the connection is lost; the handler must return then. An exchange that it leaves without
// an answer is reset.
type Handler func(ctx context.Context, exchange *Exchange)

// Side is an end of a connection.
type Side int

const (
	FromClient Side = iota
	FromServer
)

// Outcome is how a request has ended that no handler has answered.
type Outcome struct {
	// Fields are those of the server's last header block, valid until ended
	// returns; none where it sent none.
	Fields []hpack.HeaderField
	End    End
	Code   http2.ErrCode // if a side has reset the stream
}

// End is what ended a request.
type End int

const (
	Complete    End = iota // the server's answer
	ClientReset            // RST_STREAM
	ServerReset
	ClientDisconnected // the connection ended
	ServerDisconnected
	Shutdown // CloseStreaming
)

// watch shows a piece of a body.
func (p *Plan) watch(from Side, piece []byte) {
	if p.Watch != nil && len(piece) > 0 {
		p.Watch(from, piece)
	}
}

// watchFrame shows the content of a DATA frame that passes, whatever it is.
func (p *Plan) watchFrame(from Side, f frame) {
	if p.Watch == nil {
		return
	}
	if content, err := f.content(); err == nil { // otherwise it is for the receiver to judge
		p.watch(from, content)
	}
}
