package frames

import (
	"context"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Route returns the plan for a request when its header fields are complete. The fields are
// valid until Route returns. Route and the functions of the plan must not block, because they
// block all streams of the connection. Handlers may block.
type Route func(fields []hpack.HeaderField) Plan

// Plan describes how a request is handled. The zero Plan relays it unchanged.
type Plan struct {
	// Handler intercepts the request. It runs in its own goroutine from the beginning of the
	// body on. The server does not see the request.
	Handler Handler
	// Decide is called at most once with the header fields and the body of a request with a
	// handler, if the complete body arrives in one DATA frame. If it returns a restoration, the
	// request is relayed with it, and the handler does not start, unless the server has sent
	// GOAWAY meanwhile.
	Decide func(fields []hpack.HeaderField, body []byte) *Restoration
	// Restoration, if not nil, relays a request without a handler, and restores its answer.
	Restoration *Restoration
	// Watch is called with the pieces of the body of a relayed request as the client sends
	// them, and of its answer as the client receives them. A piece is valid until Watch
	// returns. The two bodies may be reported concurrently.
	Watch func(from Side, piece []byte)
	// Ended is called once when the request has ended, unless its handler has started.
	// Watch may still be called afterwards with pieces of the request body.
	Ended func(Outcome)
	// Unbounded marks a request that may never end. Drain does not wait for it.
	// CloseStreaming resets it, or cancels the context of its handler with ErrShutdown. The
	// handler may still answer then.
	Unbounded bool
}

// Handler answers an intercepted request. When the client resets the stream or the connection
// ends, ctx is cancelled and the handler must return. If it returns without a complete
// answer, the stream is reset.
type Handler func(ctx context.Context, exchange *Exchange)

// Side is the sender of a body.
type Side int

const (
	FromClient Side = iota
	FromServer
)

// Outcome describes the end of a request for Plan.Ended.
type Outcome struct {
	// Fields are the fields of the header block that ended the answer, or nil if it ended
	// without one. They are valid until Plan.Ended returns.
	Fields []hpack.HeaderField
	End    End
	Code   http2.ErrCode // the error code, for ClientReset and ServerReset
}

// End is the cause of the end of a request.
type End int

const (
	Complete           End = iota // the server's answer is complete
	ClientReset                   // RST_STREAM from the client
	ServerReset                   // RST_STREAM from the server, or refused because of GOAWAY
	ClientDisconnected            // the client's connection ended
	ServerDisconnected            // the server's connection ended, or Close was called
	Shutdown                      // reset by CloseStreaming
)

// watch passes a piece of a body to p.Watch.
func (p *Plan) watch(from Side, piece []byte) {
	if p.Watch != nil && len(piece) > 0 {
		p.Watch(from, piece)
	}
}

// watchFrame passes the content of a DATA frame that is forwarded to p.Watch.
func (p *Plan) watchFrame(from Side, f frame) {
	if p.Watch == nil {
		return
	}
	if content, err := f.content(); err == nil { // the receiver rejects a malformed frame
		p.watch(from, content)
	}
}
