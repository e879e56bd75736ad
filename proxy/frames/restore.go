package frames

import (
	"context"
	"errors"

	"golang.org/x/net/http2/hpack"
)

// Restoration describes how a relayed request and its answer are changed.
type Restoration struct {
	// Fields are the header fields of the request for the server.
	Fields []hpack.HeaderField
	// Restore changes the body of the answer. If it is nil, the answer is forwarded
	// unchanged.
	Restore Restorer
	// Unchanged, if not nil, is called with the content of the answer's first DATA frame. If
	// it returns true, the answer is forwarded unchanged. It must not block.
	Unchanged func(beginning []byte) bool
	// Skipped, if not nil, is called when the answer is forwarded without Restore because the
	// answer or its request exceeds a limit. It must not block.
	Skipped func()
}

// Restorer returns a changed answer. It must not modify its argument.
//
// At first it is called with mayBlock false, by the loop that reads the server. If it has to
// wait, for example for a request to the server, it must return [ErrWouldBlock]. It is then
// called again in its own goroutine, with mayBlock true and a ctx that is cancelled when the
// request ends. If this call fails, the answer is sent unchanged.
type Restorer func(ctx context.Context, of Answered, mayBlock bool) (Restored, error)

// Answered is a request with its complete answer.
type Answered struct {
	Request []byte              // body of the request; nil if Plan.Restore was called with it
	Header  []hpack.HeaderField // first header block of the answer
	Body    []byte              // body of the answer
}

// Restored is a changed answer.
type Restored struct {
	Body []byte
	// Trailer, if not nil, replaces the fields of the header block that ends the answer.
	Trailer []hpack.HeaderField
}

// ErrWouldBlock is returned by a [Restorer] that has to wait.
var ErrWouldBlock = errors.New("restoring the answer would block")

// restoration is the state of an answer that is collected, and changed once it is complete.
// It is guarded by Relay.mutex.
type restoration struct {
	plan          *Restoration
	request       []byte // body of the request so far, if keepsRequest is set
	keepsRequest  bool
	tooLarge      bool // the request exceeds a limit
	header        []hpack.HeaderField
	body          []byte
	collecting    bool               // the answer is not complete
	firstDataSeen bool               // the first DATA frame of the answer has been received
	cancel        context.CancelFunc // cancels the restorer in its goroutine; nil before it runs
}

// expectRestore prepares the stream of a request with Plan.Restoration.
func (s *stream) expectRestore(plan *Restoration) {
	s.restoration = &restoration{plan: plan, collecting: true, keepsRequest: true}
}

// keepRequest keeps the content of a DATA frame of the request for the restorer.
func (p *clientToServer) keepRequest(s *stream, f frame) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	a := s.restoration
	if a == nil || !a.keepsRequest || !a.collecting {
		return
	}
	content, err := f.content()
	if err != nil {
		return // the server rejects the malformed frame
	}
	if len(a.request)+len(content) > requestBodyLimit || p.buffered+len(content) > bufferLimit {
		a.tooLarge = true
		return
	}
	a.request = append(a.request, content...)
	p.buffered += len(content)
}
