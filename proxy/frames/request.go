package frames

import (
	"slices"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// headers takes a header block, once it is complete.
func (u *up) headers(complete bool, err error) error {
	if err != nil || !complete {
		return err
	}
	fields, err := u.decoder.decode(u.block.fragments, u.serverTable.most.Load())
	if err != nil {
		return err
	}
	id, last := u.block.stream, u.block.flags.Has(http2.FlagHeadersEndStream)
	u.mutex.Lock()
	known := id <= u.highest
	s, exchange := u.open[id], u.taken[id]
	u.mutex.Unlock()
	switch {
	case id == 0 || !known && id%2 == 0:
		return connectionError{http2.ErrCodeProtocol, "HEADERS on a stream that is not the client's"}
	case exchange != nil:
		exchange.receive(nil, last) // trailers, which nobody asks for
	case s != nil:
		u.pass(fields)
		u.clientDone(id, last)
	case !known:
		u.request(id, fields, last)
	case len(fields) > 0 && strings.HasPrefix(fields[0].Name, ":"): // which trailers have not
		return connectionError{http2.ErrCodeProtocol, "a request on an earlier stream"}
	}
	return nil // of a stream that is gone nothing is passed on
}

// request begins a request.
func (u *up) request(id uint32, fields []hpack.HeaderField, last bool) {
	u.mutex.Lock()
	u.highest = id
	accepted := u.accepts(id)
	full := len(u.open)+len(u.taken) >= streamLimit
	u.mutex.Unlock()
	switch {
	case !accepted:
		return
	case full:
		u.answers = appendReset(u.answers, id, http2.ErrCodeRefusedStream)
		return
	}
	var handler Handler
	s := &stream{}
	if u.options.Route != nil {
		handler, s.ended = u.options.Route(fields)
	}
	if handler != nil {
		u.take(id, fields, last, handler)
		return
	}
	s.endless = u.options.Endless != nil && u.options.Endless(fields)
	u.mutex.Lock()
	accepted = u.accepts(id) // still
	if accepted {
		u.open[id] = s
	}
	u.mutex.Unlock()
	switch {
	case accepted:
		u.pass(fields)
		u.clientDone(id, last)
	case s.ended != nil:
		s.ended(Outcome{End: ServerReset, Code: http2.ErrCodeRefusedStream})
	}
}

// accepts tells whether a request may begin. Otherwise the client has been told that it
// is not answered. The caller holds the mutex.
func (u *up) accepts(id uint32) bool { return id <= u.limit && u.failure == nil }

// take begins a request that the server does not see.
func (u *up) take(id uint32, fields []hpack.HeaderField, last bool, handler Handler) {
	u.mutex.Lock()
	if !u.accepts(id) {
		u.mutex.Unlock()
		return
	}
	exchange := newExchange(u.Relay, id, slices.Clone(fields), handler)
	u.taken[id] = exchange
	u.lastTaken = id
	narrow := u.uphill < plainWindow
	u.mutex.Unlock()
	if narrow && !last { // the server will never widen it
		u.answers = appendWindowUpdate(u.answers, id, plainWindow)
	}
	exchange.receive(nil, last)
}

// pass encodes the fields of the block anew.
func (u *up) pass(fields []hpack.HeaderField) {
	u.passed = max(u.passed, u.block.stream)
	encoded := u.encoder.encode(u.block.priority, fields, u.serverTable.now.Load())
	flags := u.block.flags & (http2.FlagHeadersEndStream | http2.FlagHeadersPriority)
	u.batch.edit(func(b []byte) []byte {
		return appendBlock(b, u.block.stream, encoded, int(u.serverMaxFrame.Load()), flags)
	})
}

// clientDone notes that the client has sent all of a relayed request, where it has.
func (u *up) clientDone(id uint32, last bool) {
	if !last {
		return
	}
	u.mutex.Lock()
	if s := u.open[id]; s != nil {
		if s.clientDone = true; s.serverDone {
			delete(u.open, id)
			u.checkLeft()
		}
	}
	u.mutex.Unlock()
}
