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
	fields, err := u.decoder.decode(u.block.fragments, u.serverTable.allowed())
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
		exchange.receive(nil, last) // trailers, which the handler does not see
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
	s := &stream{id: id}
	if u.route != nil {
		s.plan = u.route(fields)
	}
	taken := s.plan.Handler != nil
	if taken {
		accepted = u.take(id, fields, last, s.plan)
	} else {
		if plan := s.plan.Restoration; plan != nil {
			s.restoreLater(plan)
			fields = plan.Fields
		}
		u.mutex.Lock()
		if accepted = u.accepts(id); accepted { // still
			s.window = u.flow.toClient.stream(u.clientSettings.announcedWindow, u.clientSettings.appliedWindow)
			u.open[id] = s
		}
		u.mutex.Unlock()
	}
	switch {
	case accepted && !taken:
		u.pass(fields)
		u.clientDone(id, last)
	case !accepted && s.plan.Ended != nil:
		s.plan.Ended(Outcome{End: ServerReset, Code: http2.ErrCodeRefusedStream})
	}
}

// accepts reports whether a request may begin. Otherwise the client knows that it
// is not answered. The caller holds the mutex.
func (u *up) accepts(id uint32) bool { return id <= u.limit && u.failure == nil }

// take begins a request that the server does not see, if it may still begin.
func (u *up) take(id uint32, fields []hpack.HeaderField, last bool, plan Plan) bool {
	u.mutex.Lock()
	if !u.accepts(id) {
		u.mutex.Unlock()
		return false
	}
	exchange := newExchange(u.Relay, id, slices.Clone(fields), plan)
	u.taken[id] = exchange
	u.lastIntercepted = id
	if narrow := plainWindow - u.flow.serverInitialWindow; narrow > 0 && !last { // the server will never widen it
		exchange.widened = narrow
		u.answers = appendWindowUpdate(u.answers, id, narrow)
	}
	u.mutex.Unlock()
	exchange.receive(nil, last)
	return true
}

// pass encodes the fields of the block anew.
func (u *up) pass(fields []hpack.HeaderField) {
	u.passed = max(u.passed, u.block.stream)
	encoded := u.encoder.encode(u.block.priority, fields, u.serverTable.next())
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
		if s.clientDone = true; s.serverDone && !s.ending {
			delete(u.open, id)
			u.checkLeft()
		}
	}
	u.mutex.Unlock()
}
