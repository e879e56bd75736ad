package frames

import (
	"context"
	"slices"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// interception is a request that the server does not see. It is undecided until its body
// begins: then either a handler answers it, or it is relayed. It is guarded by Relay.mutex.
type interception struct {
	relay       *Relay
	id          uint32
	fields      []hpack.HeaderField
	plan        Plan        // without Ended when that was called
	window      relayWindow // the client's window for the answer; the server does not know the stream
	extraCredit int         // credit given to the client beyond the server's initial window
	exchange    *Exchange   // nil while the request is undecided; set by clientToServer
}

// intercept begins a request that the server does not see. It reports false if the
// connection accepts no more requests.
func (p *clientToServer) intercept(id uint32, fields []hpack.HeaderField, last bool, plan Plan) bool {
	p.mutex.Lock()
	if !p.accepts(id) {
		p.mutex.Unlock()
		return false
	}
	i := &interception{relay: p.Relay, id: id, fields: slices.Clone(fields), plan: plan}
	i.window = p.flow.toClient.stream(p.clientSettings.announcedWindow, p.clientSettings.appliedWindow)
	p.intercepted[id] = i
	p.maxInterceptedID = id
	if narrow := defaultWindow - p.flow.serverInitialWindow; narrow > 0 && !last { // the server will never widen it
		i.extraCredit = narrow
		p.controlFrames = appendWindowUpdate(p.controlFrames, id, narrow)
	}
	p.mutex.Unlock()
	if last {
		p.receive(i, frame{}, nil, true)
	}
	return true
}

// receive handles a piece of an intercepted request's body. f is its DATA frame, or the zero
// frame if a header block ends the body. The first piece decides what becomes of the request.
func (p *clientToServer) receive(i *interception, f frame, content []byte, last bool) {
	begins := i.exchange == nil && (last || len(content) > 0)
	if begins {
		if restoration := p.decide(i, f, content); restoration != nil && p.relayIntercepted(i, restoration, f, content) {
			return
		}
	}
	if !last && f.length > 0 {
		p.controlFrames = appendWindowUpdate(p.controlFrames, i.id, f.length)
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.flow.toServer.receive(f.length)
	p.flow.toServer.absorb(f.length) // before the handler runs, because its answer carries the credit
	if begins && p.failure == nil {
		i.handle()
	}
	if i.exchange != nil {
		i.exchange.receive(content, last)
	}
}

// decide returns the restoration with which an intercepted request is relayed; nil if its
// handler answers it. The server must see the whole body, and have seen no later request.
// A server that has sent GOAWAY may not answer it.
func (p *clientToServer) decide(i *interception, f frame, content []byte) *Restoration {
	if i.plan.Decide == nil || !f.flags.Has(http2.FlagDataEndStream) || i.id <= p.maxServerStreamID {
		return nil
	}
	p.mutex.Lock()
	possible := len(content) <= p.flow.serverInitialWindow && !p.serverGoAway && p.failure == nil
	p.mutex.Unlock()
	if !possible {
		return nil
	}
	return i.plan.Decide(i.fields, content)
}

// relayIntercepted relays an undecided request. f is the frame with the whole body. It
// reports false if the server does not answer it any more.
func (p *clientToServer) relayIntercepted(i *interception, plan *Restoration, f frame, content []byte) bool {
	p.mutex.Lock()
	if p.serverGoAway || p.failure != nil {
		p.mutex.Unlock()
		return false
	}
	s := &stream{id: i.id, plan: i.plan, clientDone: true, window: i.window}
	// The server does not know of the credit that the client has given meanwhile.
	s.window.sender = p.clientSettings.announcedWindow
	credit := 0
	if plan.Restore != nil {
		s.restoration = &restoration{plan: plan, collecting: true}
	}
	if plan.Restore == nil || plan.Unchanged != nil { // the answer may pass
		credit = s.window.takeCredit()
	}
	delete(p.intercepted, i.id)
	p.relayed[i.id] = s
	p.flow.toServer.receive(f.length)
	p.flow.toServer.pass(len(content))
	p.flow.toServer.absorb(f.length - len(content))
	p.mutex.Unlock()
	s.plan.watch(FromClient, content)
	p.maxServerStreamID = s.id
	encoded := p.encoder.encode(nil, plan.Fields, p.serverTable.next())
	maxFrame := int(p.serverMaxFrame.Load())
	p.batch.edit(func(b []byte) []byte {
		b = appendData(appendBlock(b, s.id, encoded, maxFrame, 0), s.id, content, maxFrame, true)
		if credit > 0 {
			b = appendWindowUpdate(b, s.id, credit)
		}
		return b
	})
	return true
}

// handle starts the handler of an undecided request. The caller holds the mutex.
func (i *interception) handle() {
	r := i.relay
	i.exchange = &Exchange{interception: i}
	i.exchange.ctx, i.exchange.cancel = context.WithCancelCause(r.handlerContext)
	r.handlers.Go(i.exchange.run)
	r.checkDrained() // it may be unbounded, and the last one
}

// cancelByClient ends an intercepted request after a reset by the client.
func (i *interception) cancelByClient(code http2.ErrCode) {
	r := i.relay
	r.mutex.Lock()
	x := i.exchange
	var ended func(Outcome)
	if x == nil {
		ended, i.plan.Ended = i.plan.Ended, nil
		delete(r.intercepted, i.id)
		r.checkDrained()
	} else {
		x.failure, x.bodyComplete = errClientReset, true
	}
	r.changed.Broadcast()
	r.mutex.Unlock()
	if x != nil {
		x.cancel(nil)
	}
	if ended != nil {
		ended(Outcome{End: ClientReset, Code: code})
	}
}
