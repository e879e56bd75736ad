package frames

import (
	"slices"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// headers handles a header block once it is complete.
func (p *clientToServer) headers(complete bool, err error) error {
	if err != nil || !complete {
		return err
	}
	fields, err := p.decoder.decode(p.block.fragments, p.serverTable.allowed())
	if err != nil {
		return err
	}
	id, last := p.block.stream, p.block.flags.Has(http2.FlagHeadersEndStream)
	p.mutex.Lock()
	known := id <= p.maxClientStreamID
	s, exchange := p.relayed[id], p.intercepted[id]
	p.mutex.Unlock()
	switch {
	case id == 0 || !known && id%2 == 0:
		return connectionError{http2.ErrCodeProtocol, "HEADERS on a stream that is not the client's"}
	case exchange != nil:
		exchange.receive(nil, last) // trailers, which the handler does not see
	case s != nil:
		p.forwardBlock(fields)
		p.clientDone(id, last)
	case !known:
		p.request(id, fields, last)
	case len(fields) > 0 && strings.HasPrefix(fields[0].Name, ":"): // which trailers have not
		return connectionError{http2.ErrCodeProtocol, "a request on an earlier stream"}
	}
	return nil // of a stream that is gone nothing is passed on
}

// request handles the header block that opens a stream.
func (p *clientToServer) request(id uint32, fields []hpack.HeaderField, last bool) {
	p.mutex.Lock()
	p.maxClientStreamID = id
	accepted := p.accepts(id)
	full := len(p.relayed)+len(p.intercepted) >= streamLimit
	p.mutex.Unlock()
	switch {
	case !accepted:
		return
	case full:
		p.controlFrames = appendReset(p.controlFrames, id, http2.ErrCodeRefusedStream)
		return
	}
	s := &stream{id: id}
	if p.route != nil {
		s.plan = p.route(fields)
	}
	intercepted := s.plan.Handler != nil
	if intercepted {
		accepted = p.intercept(id, fields, last, s.plan)
	} else {
		if plan := s.plan.Restoration; plan != nil {
			s.expectRestore(plan)
			fields = plan.Fields
		}
		p.mutex.Lock()
		if accepted = p.accepts(id); accepted { // still
			s.window = p.flow.toClient.stream(p.clientSettings.announcedWindow, p.clientSettings.appliedWindow)
			p.relayed[id] = s
		}
		p.mutex.Unlock()
	}
	switch {
	case accepted && !intercepted:
		p.forwardBlock(fields)
		p.clientDone(id, last)
	case !accepted && s.plan.Ended != nil:
		s.plan.Ended(Outcome{End: ServerReset, Code: http2.ErrCodeRefusedStream})
	}
}

// accepts reports whether a request may begin. Otherwise the client knows that it
// is not answered. The caller holds the mutex.
func (p *clientToServer) accepts(id uint32) bool { return id <= p.lastStreamID && p.failure == nil }

// intercept begins a request that the server does not see. It reports false if the
// connection accepts no more requests.
func (p *clientToServer) intercept(id uint32, fields []hpack.HeaderField, last bool, plan Plan) bool {
	p.mutex.Lock()
	if !p.accepts(id) {
		p.mutex.Unlock()
		return false
	}
	exchange := newExchange(p.Relay, id, slices.Clone(fields), plan)
	p.intercepted[id] = exchange
	p.maxInterceptedID = id
	if narrow := defaultWindow - p.flow.serverInitialWindow; narrow > 0 && !last { // the server will never widen it
		exchange.extraCredit = narrow
		p.controlFrames = appendWindowUpdate(p.controlFrames, id, narrow)
	}
	p.mutex.Unlock()
	exchange.receive(nil, last)
	return true
}

// forwardBlock encodes the fields of a header block for the server.
func (p *clientToServer) forwardBlock(fields []hpack.HeaderField) {
	p.maxServerStreamID = max(p.maxServerStreamID, p.block.stream)
	encoded := p.encoder.encode(p.block.priority, fields, p.serverTable.next())
	flags := p.block.flags & (http2.FlagHeadersEndStream | http2.FlagHeadersPriority)
	p.batch.edit(func(b []byte) []byte {
		return appendBlock(b, p.block.stream, encoded, int(p.serverMaxFrame.Load()), flags)
	})
}

// clientDone notes the end of the client's side of a relayed request. It does nothing
// unless last is set.
func (p *clientToServer) clientDone(id uint32, last bool) {
	if !last {
		return
	}
	p.mutex.Lock()
	if s := p.relayed[id]; s != nil {
		if s.clientDone = true; s.serverDone && !s.endQueued {
			delete(p.relayed, id)
			p.checkDrained()
		}
	}
	p.mutex.Unlock()
}
