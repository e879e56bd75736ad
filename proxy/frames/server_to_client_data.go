package frames

import (
	"bytes"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// unanswered returns the relayed stream with this identifier, or nil if there is none or the
// server has ended its answer. The caller holds the mutex.
func (p *serverToClient) unanswered(id uint32) *stream {
	if s := p.relayed[id]; s != nil && !s.serverDone {
		return s
	}
	return nil
}

// serverDone records the end of the server's answer and calls Plan.Ended. fields are those of
// the header block that ended it, or nil.
func (p *serverToClient) serverDone(id uint32, fields []hpack.HeaderField) {
	p.mutex.Lock()
	s := p.relayed[id]
	if s == nil {
		p.mutex.Unlock()
		return
	}
	ended := s.plan.Ended
	s.serverDone, s.plan.Ended = true, nil
	if s.clientDone {
		delete(p.relayed, id)
		p.checkDrained()
	}
	p.mutex.Unlock()
	if ended != nil {
		ended(Outcome{End: Complete, Fields: fields})
	}
}

// data forwards DATA if the client's windows allow it, and queues it otherwise. It collects
// DATA of an answer that is to be restored.
func (p *serverToClient) data(f frame) error {
	last := f.flags.Has(http2.FlagDataEndStream)
	content, malformed := f.content() // a forwarded frame is checked by the client
	p.mutex.Lock()
	p.pings.serverSentData = true
	s := p.unanswered(f.stream)
	if s != nil {
		s = p.passUnchanged(s, f)
	}
	counted := &p.flow.toClient // window of the stream, or of the connection if no stream is open
	if s != nil {
		counted = &s.window
	}
	counted.receive(f.length)
	exceeded := p.flow.toClient.exceeded()
	passes := f.length <= p.flow.toClient.available() && (s == nil || s.restoration == nil && !s.sending)
	collecting := s != nil && s.restoration != nil && s.restoration.collecting
	switch {
	case passes:
		counted.pass(f.length)
	case s == nil: // no open stream
		counted.absorb(f.length)
		p.returnUrgentCredit(nil)
	default:
		counted.absorb(f.length - len(content))
	}
	p.mutex.Unlock()
	switch {
	case exceeded:
		return connectionError{http2.ErrCodeFlowControl, "DATA exceeds the client's flow-control window"}
	case passes:
		p.forwardData(s, f, last)
		return nil
	case s == nil:
		return nil
	case malformed != nil:
		return malformed
	case collecting:
		return p.collectAnswer(s, content, last)
	}
	return p.queueData(s, content, last)
}

// forwardData forwards DATA unchanged. s is nil if no stream is open.
func (p *serverToClient) forwardData(s *stream, f frame, last bool) {
	p.batch.keep(f)
	if s != nil {
		s.plan.watchFrame(FromServer, f)
	}
	if last {
		p.serverDone(f.stream, nil)
	}
}

// queueData queues DATA that cannot be forwarded now, without its padding. The server gets
// credit for the padding. If more than bufferLimit is queued, queueData blocks.
func (p *serverToClient) queueData(s *stream, content []byte, last bool) error {
	s.plan.watch(FromServer, content)
	p.mutex.Lock()
	for p.flow.toClient.held > bufferLimit && p.failure == nil { // possible only if the client has granted as much
		p.changed.Wait()
	}
	p.buffered += len(content)
	s.serverDone, s.endQueued = last, last
	p.returnUrgentCredit(s)
	p.mutex.Unlock()
	return p.enqueue(s, segment{data: bytes.Clone(content), fromServer: true, end: last})
}
