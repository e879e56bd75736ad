package frames

import (
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
	s, intercepted := p.relayed[id], p.intercepted[id]
	p.mutex.Unlock()
	switch {
	case id == 0 || !known && id%2 == 0:
		return connectionError{http2.ErrCodeProtocol, "HEADERS on a stream that a client cannot open"}
	case intercepted != nil:
		p.receive(intercepted, frame{}, nil, last) // the handler does not get the trailers
	case s != nil:
		p.forwardBlock(fields)
		p.clientDone(id, last)
	case !known:
		p.request(id, fields, last)
	case len(fields) > 0 && strings.HasPrefix(fields[0].Name, ":"): // a request, since trailers have no pseudo-header fields
		return connectionError{http2.ErrCodeProtocol, "stream identifier of a request did not increase"}
	}
	return nil // the trailers of a closed stream are dropped
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
	var plan Plan
	if p.route != nil {
		plan = p.route(fields)
	}
	if plan.Handler != nil {
		accepted = p.intercept(id, fields, last, plan)
	} else {
		accepted = p.relayRequest(id, fields, last, plan)
	}
	if !accepted && plan.Ended != nil {
		plan.Ended(Outcome{End: ServerReset, Code: http2.ErrCodeRefusedStream})
	}
}

// relayRequest relays a request unchanged. It reports false if the connection accepts no
// more requests.
func (p *clientToServer) relayRequest(id uint32, fields []hpack.HeaderField, last bool, plan Plan) bool {
	s := &stream{id: id, plan: plan}
	if plan.Restoration != nil {
		s.expectRestore(plan.Restoration)
		fields = plan.Restoration.Fields
	}
	p.mutex.Lock()
	if !p.accepts(id) { // may have changed since
		p.mutex.Unlock()
		return false
	}
	s.window = p.flow.toClient.stream(p.clientSettings.announcedWindow, p.clientSettings.appliedWindow)
	p.relayed[id] = s
	p.mutex.Unlock()
	p.forwardBlock(fields)
	p.clientDone(id, last)
	return true
}

// accepts reports whether a new request is handled. If not, GOAWAY announces this to the
// client, or the connection has ended. The caller holds the mutex.
func (p *clientToServer) accepts(id uint32) bool { return id <= p.lastStreamID && p.failure == nil }

// forwardBlock encodes the fields of a header block and adds it to the batch for the server.
func (p *clientToServer) forwardBlock(fields []hpack.HeaderField) {
	p.maxServerStreamID = max(p.maxServerStreamID, p.block.stream)
	encoded := p.encoder.encode(p.block.priority, fields, p.serverTable.next())
	flags := p.block.flags & (http2.FlagHeadersEndStream | http2.FlagHeadersPriority)
	p.batch.edit(func(b []byte) []byte {
		return appendBlock(b, p.block.stream, encoded, int(p.serverMaxFrame.Load()), flags)
	})
}

// clientDone records the end of a relayed request if last is set.
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
