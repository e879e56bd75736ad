package frames

import (
	"fmt"

	"golang.org/x/net/http2"
)

// checkBlockLength returns an error for a frame of a header block that is longer than the
// server accepts. The server can't judge that itself, because the relay splits blocks into
// frames of its own.
func (p *clientToServer) checkBlockLength(f frame) error {
	if f.kind != http2.FrameHeaders && f.kind != http2.FrameContinuation {
		return nil
	}
	if limit := p.serverFrameLimit.Load(); f.length > int(limit) {
		return connectionError{http2.ErrCodeFrameSize, fmt.Sprintf("%v longer than %d bytes", f.kind, limit)}
	}
	return nil
}

// isUnused reports whether id is 0, or a stream that the client could have opened and has
// not. The server sees such a stream as the client does and judges its frames: C-core resets
// streams that it has not opened, which grpc-go's server allows and nghttp2's does not. The
// caller holds the mutex.
func (p *clientToServer) isUnused(id uint32) bool {
	return id == 0 || id%2 == 1 && id > p.maxClientStreamID
}

// serverMayKnow reports whether a stream is not intercepted and not closed.
func (p *clientToServer) serverMayKnow(id uint32) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.relayed[id] != nil || p.isUnused(id)
}
