package frames

import (
	"cmp"
	"errors"
	"io"
	"strings"

	"golang.org/x/net/http2"
)

// up pumps what the client sends to the server.
type up struct {
	*Relay
	reader  reader
	batch   batch
	block   block
	decoder *decoder
	encoder *encoder
	answers []byte // frames for the client, without header blocks
	passed  uint32 // identifier of the last request that the server has seen
}

func newUp(r *Relay) *up {
	u := &up{Relay: r, decoder: newDecoder(), encoder: newEncoder()}
	u.reader.from = r.client
	u.batch.from = &u.reader
	return u
}

// errOtherProtocol says that a connection is not HTTP/2.
var errOtherProtocol = errors.New("no HTTP/2")

// preface reads the beginning of an HTTP/2 connection (RFC 9113, 3.4) and passes
// it on. What it has read it returns in any case.
func (u *up) preface() (begun []byte, err error) {
	begun = make([]byte, 0, len(http2.ClientPreface))
	for len(begun) < cap(begun) {
		n, err := u.reader.from.Read(begun[len(begun):cap(begun)])
		if n == 0 {
			return begun, cmp.Or(err, io.ErrNoProgress)
		}
		begun = begun[:len(begun)+n]
		if !strings.HasPrefix(http2.ClientPreface, string(begun)) {
			return begun, errOtherProtocol
		}
	}
	u.writeServer(begun)
	return begun, nil
}

func (u *up) run() error {
	for {
		for {
			f, ok, err := u.reader.next()
			if err == nil && ok {
				err = u.frame(f)
			}
			if err != nil {
				return err
			}
			if !ok {
				break
			}
		}
		u.flush()
		if err := u.reader.fill(); err != nil {
			return err
		}
	}
}

func (u *up) flush() {
	u.writeServer(u.batch.take())
	u.mutex.Lock()
	if u.flow.toServer.creditUrgent() {
		u.answers = u.flow.appendClientCredit(u.answers)
	}
	u.mutex.Unlock()
	u.post(u.answers)
	u.answers = u.answers[:0]
}

func (u *up) frame(f frame) error {
	if err := u.block.inOrder(f); err != nil {
		return err
	}
	if err := u.checkLength(f); err != nil {
		return err
	}
	switch f.kind {
	case http2.FrameHeaders:
		return u.headers(u.block.begin(f))
	case http2.FrameContinuation:
		return u.headers(u.block.proceed(f))
	case http2.FrameData:
		return u.data(f)
	case http2.FrameRSTStream:
		return u.reset(f)
	case http2.FrameWindowUpdate:
		return u.windowUpdate(f)
	case http2.FrameSettings:
		return u.settings(f)
	case http2.FramePing:
		if f.length != pingLength {
			return connectionError{http2.ErrCodeFrameSize, "PING of another length than 8"}
		}
		if u.acknowledged(f) || u.answersPing(f) {
			return nil
		}
	case http2.FramePriority:
		if !u.serverMayKnow(f.stream) {
			return nil
		}
	case http2.FramePushPromise:
		return connectionError{http2.ErrCodeProtocol, "PUSH_PROMISE from a client"}
	}
	u.batch.keep(f)
	return nil
}

// data passes DATA on, or keeps that of a taken request. The client gets back what the
// server does not see.
func (u *up) data(f frame) error {
	last := f.flags.Has(http2.FlagDataEndStream)
	u.mutex.Lock()
	unused := u.isUnused(f.stream)
	s, exchange := u.open[f.stream], u.taken[f.stream]
	if s != nil || unused {
		u.flow.toServer.receive(f.length)
		u.flow.toServer.pass(f.length)
	}
	u.mutex.Unlock()
	var content []byte
	switch {
	case unused:
		u.batch.keep(f)
		return nil
	case s != nil:
		s.plan.watchFrame(FromClient, f)
		if s.plan.Restoration != nil {
			u.keepRequest(s, f)
		}
		u.batch.keep(f)
		u.clientDone(f.stream, last)
		return nil
	case exchange != nil:
		var err error
		if content, err = f.content(); err != nil {
			return err
		}
		if u.passOn(exchange, f, content) {
			return nil
		}
		if !last && f.length > 0 {
			u.answers = appendWindowUpdate(u.answers, f.stream, f.length)
		}
	}
	u.mutex.Lock()
	u.flow.toServer.receive(f.length)
	u.flow.toServer.absorb(f.length)
	u.mutex.Unlock()
	if exchange != nil {
		exchange.receive(content, last) // then: its answer takes the credit along
	}
	return nil
}

func (u *up) reset(f frame) error {
	code, err := f.number()
	if err != nil {
		return err
	}
	u.mutex.Lock()
	exchange, relayed := u.taken[f.stream], u.open[f.stream] != nil
	unused := u.isUnused(f.stream)
	ended := u.close(f.stream)
	u.mutex.Unlock()
	if exchange != nil {
		exchange.abandon(http2.ErrCode(code))
	}
	if relayed || unused {
		u.batch.keep(f)
		ended(Outcome{End: ClientReset, Code: http2.ErrCode(code)})
	}
	return nil
}
