package frames

import (
	"context"
	"errors"

	"golang.org/x/net/http2"
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

// restoration is the answer to a relayed request that is kept until it is complete and
// then changed. It is guarded by the relay's mutex.
type restoration struct {
	plan       *Restoration
	request    []byte // what has come of the body, where keeps is set
	keeps      bool
	tooLarge   bool // the request
	header     []hpack.HeaderField
	body       []byte
	collecting bool               // the answer is not complete
	peeked     bool               // its first DATA frame has come
	cancel     context.CancelFunc // of the restorer that runs in a goroutine; nil while none does
}

// passOn passes a taken request on after all, if its answer is to be restored and its
// frames can still come as if it had never been taken: f is its whole body.
func (u *up) passOn(x *Exchange, f frame, content []byte) bool {
	if x.plan.Restore == nil || !f.flags.Has(http2.FlagDataEndStream) || x.id <= u.passed {
		return false // the server has seen a later request, or will not see the whole body
	}
	u.mutex.Lock()
	possible := !x.begun && len(x.body) == 0 && len(content) <= u.flow.serverInitialWindow && u.accepts(x.id)
	u.mutex.Unlock()
	if !possible {
		return false
	}
	plan := x.plan.Restore(x.fields, content)
	if plan == nil {
		return false
	}
	u.mutex.Lock()
	if !u.accepts(x.id) {
		u.mutex.Unlock()
		return false
	}
	delete(u.taken, x.id)
	// The server does not know of the credit that the client has given meanwhile.
	s := &stream{id: x.id, plan: x.plan, clientDone: true, window: u.flow.toClient.stream(u.clientSettings.announcedWindow, x.window.receiver.size)}
	credit := 0
	if plan.Restore != nil {
		s.restoration = &restoration{plan: plan, collecting: true}
	}
	if plan.Restore == nil || plan.Unchanged != nil { // the answer may pass
		credit = s.window.takeCredit()
	}
	u.open[x.id] = s
	u.flow.toServer.receive(f.length)
	u.flow.toServer.pass(len(content))
	u.flow.toServer.absorb(f.length - len(content)) // padding
	u.mutex.Unlock()
	x.cancel(nil)
	x.plan.watch(FromClient, content)
	u.passed = x.id
	encoded := u.encoder.encode(nil, plan.Fields, u.serverTable.next())
	maxFrame := int(u.serverMaxFrame.Load())
	u.batch.edit(func(b []byte) []byte {
		b = appendData(appendBlock(b, x.id, encoded, maxFrame, 0), x.id, content, maxFrame, true)
		if credit > 0 {
			b = appendWindowUpdate(b, x.id, credit)
		}
		return b
	})
	return true
}

// restoreLater has the answer to a request restored that passes before its body is there.
func (s *stream) restoreLater(plan *Restoration) {
	s.restoration = &restoration{plan: plan, collecting: true, keeps: true}
}

// keepRequest keeps a piece of a request whose answer may have to be changed.
func (u *up) keepRequest(s *stream, f frame) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	a := s.restoration
	if a == nil || !a.keeps || !a.collecting {
		return
	}
	content, err := f.content()
	if err != nil {
		return // it is for the server to judge
	}
	if len(a.request)+len(content) > bodyLimit || u.bodies+len(content) > bodiesLimit {
		a.tooLarge = true
		return
	}
	a.request = append(a.request, content...)
	u.bodies += len(content)
}
