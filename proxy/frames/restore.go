package frames

import (
	"context"
	"errors"

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
