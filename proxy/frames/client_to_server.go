package frames

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/net/http2"
)

// clientToServer is the loop that reads frames from the client and forwards them to the
// server.
type clientToServer struct {
	*Relay
	reader            reader
	batch             batch
	block             block
	decoder           *decoder
	encoder           *encoder
	controlFrames     []byte // for the client
	maxServerStreamID uint32 // the highest stream identifier that the server has seen
}

func newClientToServer(r *Relay) *clientToServer {
	p := &clientToServer{Relay: r, decoder: newDecoder(), encoder: newEncoder()}
	p.reader.from = r.client
	p.batch.from = &p.reader
	return p
}

// errOtherProtocol is returned for a connection that is not HTTP/2.
var errOtherProtocol = errors.New("not HTTP/2")

// preface reads the client connection preface (RFC 9113, 3.4) and forwards it. begun is the
// data read so far, also after an error.
func (p *clientToServer) preface() (begun []byte, err error) {
	begun = make([]byte, 0, len(http2.ClientPreface))
	for len(begun) < cap(begun) {
		n, err := p.reader.from.Read(begun[len(begun):cap(begun)])
		if n == 0 {
			return begun, cmp.Or(err, io.ErrNoProgress)
		}
		begun = begun[:len(begun)+n]
		if !strings.HasPrefix(http2.ClientPreface, string(begun)) {
			return begun, errOtherProtocol
		}
	}
	p.writeServer(begun)
	return begun, nil
}

func (p *clientToServer) run() error {
	for {
		for {
			f, ok, err := p.reader.next()
			if err == nil && ok {
				err = p.frame(f)
			}
			if err != nil {
				return err
			}
			if !ok {
				break
			}
		}
		p.flush()
		if err := p.reader.fill(); err != nil {
			return err
		}
	}
}

func (p *clientToServer) flush() {
	p.writeServer(p.batch.take())
	p.mutex.Lock()
	if p.flow.toServer.creditUrgent() {
		p.controlFrames = p.flow.appendClientCredit(p.controlFrames)
	}
	p.mutex.Unlock()
	p.queueControl(p.controlFrames)
	p.controlFrames = p.controlFrames[:0]
}

func (p *clientToServer) frame(f frame) error {
	if err := p.block.inOrder(f); err != nil {
		return err
	}
	if err := p.checkBlockLength(f); err != nil {
		return err
	}
	switch f.kind {
	case http2.FrameHeaders:
		return p.headers(p.block.begin(f))
	case http2.FrameContinuation:
		return p.headers(p.block.proceed(f))
	case http2.FrameData:
		return p.data(f)
	case http2.FrameRSTStream:
		return p.reset(f)
	case http2.FrameWindowUpdate:
		return p.windowUpdate(f)
	case http2.FrameSettings:
		return p.settings(f)
	case http2.FramePing:
		if f.length != pingLength {
			return connectionError{http2.ErrCodeFrameSize, "PING payload is not 8 bytes"}
		}
		if p.acknowledgesDrain(f) || p.answerPing(f) {
			return nil
		}
	case http2.FramePriority:
		if !p.serverMayKnow(f.stream) {
			return nil
		}
	case http2.FramePushPromise:
		return connectionError{http2.ErrCodeProtocol, "client sent PUSH_PROMISE"}
	}
	p.batch.keep(f)
	return nil
}

// data forwards DATA of a relayed request and buffers DATA of an intercepted one. The client
// gets credit for the bytes that the server does not see.
func (p *clientToServer) data(f frame) error {
	last := f.flags.Has(http2.FlagDataEndStream)
	p.mutex.Lock()
	unused := p.isUnused(f.stream)
	s, intercepted := p.relayed[f.stream], p.intercepted[f.stream]
	if s != nil || unused {
		p.flow.toServer.receive(f.length)
		p.flow.toServer.pass(f.length)
	}
	p.mutex.Unlock()
	switch {
	case unused:
		p.batch.keep(f)
		return nil
	case s != nil:
		s.plan.watchFrame(FromClient, f)
		if s.plan.Restoration != nil {
			p.keepRequest(s, f)
		}
		p.batch.keep(f)
		p.clientDone(f.stream, last)
		return nil
	case intercepted != nil:
		content, err := f.content()
		if err == nil {
			p.receive(intercepted, f, content, last)
		}
		return err
	}
	p.mutex.Lock()
	p.flow.toServer.receive(f.length)
	p.flow.toServer.absorb(f.length)
	p.mutex.Unlock()
	return nil
}

func (p *clientToServer) reset(f frame) error {
	code, err := f.number()
	if err != nil {
		return err
	}
	p.mutex.Lock()
	intercepted, relayed := p.intercepted[f.stream], p.relayed[f.stream] != nil
	unused := p.isUnused(f.stream)
	ended := p.closeStream(f.stream)
	p.mutex.Unlock()
	if intercepted != nil {
		intercepted.cancelByClient(http2.ErrCode(code))
	}
	if relayed || unused {
		p.batch.keep(f)
		ended(Outcome{End: ClientReset, Code: http2.ErrCode(code)})
	}
	return nil
}

// checkBlockLength returns an error if a frame of a header block is longer than the server
// accepts. The server cannot check this itself, because the relay splits header blocks into
// new frames.
func (p *clientToServer) checkBlockLength(f frame) error {
	if f.kind != http2.FrameHeaders && f.kind != http2.FrameContinuation {
		return nil
	}
	if limit := p.serverFrameLimit.Load(); f.length > int(limit) {
		return connectionError{http2.ErrCodeFrameSize, fmt.Sprintf("%v frame exceeds %d bytes", f.kind, limit)}
	}
	return nil
}

// isUnused reports whether id is 0 or a stream that the client has not opened yet. Frames of
// such a stream are forwarded, and the server decides whether they are allowed. For example,
// gRPC's C-core resets streams that it has not opened: grpc-go's server allows that, and
// nghttp2's does not. The caller holds the mutex.
func (p *clientToServer) isUnused(id uint32) bool {
	return id == 0 || id%2 == 1 && id > p.maxClientStreamID
}

// serverMayKnow reports whether a stream is neither intercepted nor closed.
func (p *clientToServer) serverMayKnow(id uint32) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.relayed[id] != nil || p.isUnused(id)
}
