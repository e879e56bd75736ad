package frames

import (
	"context"
	"errors"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Restoration is what becomes of a request that is relayed after a look at its body.
type Restoration struct {
	// Fields are the request's header fields as the server gets them.
	Fields []hpack.HeaderField
	// Restore changes the answer. Where it is nil the answer passes as it comes.
	Restore Restorer
	// Unchanged, where it is not nil, is called with the content of the answer's first DATA
	// frame, between two frames of the connection. If it reports true, the answer passes as
	// it comes.
	Unchanged func(beginning []byte) bool
	// Skipped is called where the answer is passed on without Restore, because it or its
	// request is larger than the relay keeps. It must not block.
	Skipped func()
}

// Restorer changes the body of an answer, which it must not modify. Without mayBlock it is called between two
// frames of the connection and returns [ErrWouldBlock] where it has to wait; it is then
// called again with mayBlock, in a goroutine of its own, with a context that ends with the
// request.
type Restorer func(ctx context.Context, of Answered, mayBlock bool) (Restored, error)

// Answered is a request with its whole answer.
type Answered struct {
	Request []byte              // the body; nil where the restoration was decided with it
	Header  []hpack.HeaderField // that the answer begins with
	Body    []byte              // of the answer
}

// Restored is a changed answer.
type Restored struct {
	Body []byte
	// Trailer replaces the header fields that end the answer, unless it is nil.
	Trailer []hpack.HeaderField
}

// ErrWouldBlock is returned by a [Restorer] that has to wait.
var ErrWouldBlock = errors.New("restoring the answer would block")

// restoration is the answer to a relayed request that is buffered until it is complete and
// then changed. It is guarded by Relay.mutex.
type restoration struct {
	plan          *Restoration
	request       []byte // the body so far, if keepsRequest is set
	keepsRequest  bool
	tooLarge      bool // request exceeds a limit
	header        []hpack.HeaderField
	body          []byte
	collecting    bool               // the answer is not complete
	firstDataSeen bool               // its first DATA frame has come
	cancel        context.CancelFunc // of the restorer that runs in a goroutine; nil while none does
}

// relayForRestore relays an intercepted request after all, if Plan.Restore returns a
// restoration and the server has seen no later request. f is the frame with the whole
// body.
func (p *clientToServer) relayForRestore(x *Exchange, f frame, content []byte) bool {
	if x.plan.Restore == nil || !f.flags.Has(http2.FlagDataEndStream) || x.id <= p.maxServerStreamID {
		return false // the server has seen a later request, or will not see the whole body
	}
	p.mutex.Lock()
	possible := !x.started && len(x.body) == 0 && len(content) <= p.flow.serverInitialWindow && p.accepts(x.id)
	p.mutex.Unlock()
	if !possible {
		return false
	}
	plan := x.plan.Restore(x.fields, content)
	if plan == nil {
		return false
	}
	credit, ok := p.replaceExchange(x, plan, f.length, len(content))
	if !ok {
		return false
	}
	x.cancel(nil)
	x.plan.watch(FromClient, content)
	p.maxServerStreamID = x.id
	encoded := p.encoder.encode(nil, plan.Fields, p.serverTable.next())
	maxFrame := int(p.serverMaxFrame.Load())
	p.batch.edit(func(b []byte) []byte {
		b = appendData(appendBlock(b, x.id, encoded, maxFrame, 0), x.id, content, maxFrame, true)
		if credit > 0 {
			b = appendWindowUpdate(b, x.id, credit)
		}
		return b
	})
	return true
}

// replaceExchange makes an exchange a relayed request, and returns the credit for its
// answer. received is the length of its DATA frame, passed the length without padding. It
// reports false if the connection accepts no more requests.
func (p *clientToServer) replaceExchange(x *Exchange, plan *Restoration, received, passed int) (credit int, ok bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if !p.accepts(x.id) {
		return 0, false
	}
	// The server does not know of the credit that the client has given meanwhile.
	window := p.flow.toClient.stream(p.clientSettings.announcedWindow, x.window.receiver.size)
	s := &stream{id: x.id, plan: x.plan, clientDone: true, window: window}
	if plan.Restore != nil {
		s.restoration = &restoration{plan: plan, collecting: true}
	}
	if plan.Restore == nil || plan.Unchanged != nil { // the answer may pass
		credit = s.window.takeCredit()
	}
	delete(p.intercepted, x.id)
	p.relayed[x.id] = s
	p.flow.toServer.receive(received)
	p.flow.toServer.pass(passed)
	p.flow.toServer.absorb(received - passed)
	return credit, true
}

// expectRestore prepares a request for a restoration that is known before its body.
func (s *stream) expectRestore(plan *Restoration) {
	s.restoration = &restoration{plan: plan, collecting: true, keepsRequest: true}
}

// keepRequest keeps a piece of a request whose answer may have to be changed.
func (p *clientToServer) keepRequest(s *stream, f frame) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	a := s.restoration
	if a == nil || !a.keepsRequest || !a.collecting {
		return
	}
	content, err := f.content()
	if err != nil {
		return // it is for the server to judge
	}
	if len(a.request)+len(content) > requestBodyLimit || p.buffered+len(content) > bufferLimit {
		a.tooLarge = true
		return
	}
	a.request = append(a.request, content...)
	p.buffered += len(content)
}
