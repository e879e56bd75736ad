package frames

import (
	"slices"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// restoring is what the server answers to a relayed request, kept until it is complete and
// then changed. Towards the server the relay is the one who receives it, towards the
// client the one who sends it: the windows of such a stream are the relay's own.
type restoring struct {
	restore    Restorer
	header     []hpack.HeaderField
	body       []byte
	unreturned int // bytes of it that the server has not got back

	// Guarded by the relay's mutex.
	window    int  // what the client takes of it
	abandoned bool // nobody takes it any more
}

// passOn passes a taken request on after all, if it is to be restored and its frames can
// still come as if it had never been taken: f is all of its body.
func (u *up) passOn(x *Exchange, f frame, content []byte) bool {
	if x.plan.Restore == nil || !f.flags.Has(http2.FlagDataEndStream) || x.id <= u.passed {
		return false // the server has seen a later request, or will not see all
	}
	u.mutex.Lock()
	possible := !x.begun && len(x.body) == 0 && len(content) <= u.uphill && u.accepts(x.id)
	u.mutex.Unlock()
	if !possible {
		return false
	}
	restore := x.plan.Restore(content)
	if restore == nil {
		return false
	}
	u.mutex.Lock()
	if !u.accepts(x.id) {
		u.mutex.Unlock()
		return false
	}
	delete(u.taken, x.id)
	u.open[x.id] = &stream{plan: x.plan, clientDone: true, answer: &restoring{restore: restore, window: x.window}}
	u.credit += f.length - len(content) // padding, which the server does not see
	u.mutex.Unlock()
	x.cancel(nil)
	x.plan.watch(FromClient, content)
	u.passed = x.id
	encoded := u.encoder.encode(nil, x.fields, u.serverTable.now.Load())
	maxFrame := int(u.serverMaxFrame.Load())
	u.batch.edit(func(b []byte) []byte {
		return appendData(appendBlock(b, x.id, encoded, maxFrame, 0), x.id, content, maxFrame, true)
	})
	return true
}

// answering returns the relayed request of a stream that the server has not answered to
// the end; nil if there is none.
func (d *down) answering(id uint32) *stream {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if s := d.open[id]; s != nil && !s.serverDone {
		return s
	}
	return nil
}

// keep keeps a piece of an answer. The client's connection window has it back at once,
// which the server learns with the client's next update, or now if it is much.
func (d *down) keep(a *restoring, f frame) error {
	content, err := f.content()
	if err != nil {
		return err
	}
	if len(a.body)+len(content) > bodyLimit {
		return connectionError{http2.ErrCodeEnhanceYourCalm, "an answer that is too long to restore"}
	}
	a.body = append(a.body, content...)
	a.unreturned += f.length
	back := 0
	if !f.flags.Has(http2.FlagDataEndStream) && a.unreturned >= creditLimit {
		back, a.unreturned = a.unreturned, 0
		d.writeServer(appendWindowUpdate(appendWindowUpdate(nil, 0, back), f.stream, back))
	}
	d.mutex.Lock()
	d.spoke = true
	d.owed += back - f.length
	d.mutex.Unlock()
	return nil
}

// send sends a restored answer's body, as the client makes room for it.
func (d *down) send(id uint32, s *stream, last bool) error {
	a := s.answer
	if len(a.body) == 0 {
		return nil
	}
	body := a.restore(a.header, a.body)
	a.body = nil
	s.plan.watch(FromServer, body)
	for len(body) > 0 {
		n := d.reserveFor(a, len(body), false)
		if n == 0 {
			if err := d.flush(); err != nil {
				return err
			}
			if n = d.reserveFor(a, len(body), true); n == 0 {
				return d.ended()
			}
		}
		piece := body[:n]
		body = body[n:]
		d.batch.edit(func(b []byte) []byte {
			return appendData(b, id, piece, plainMaxFrame, last && len(body) == 0)
		})
	}
	return nil
}

// reserveFor takes up to n bytes of the client's windows for a restored answer. Where
// there are none it returns 0, or waits; 0 means then that nobody is there any more.
func (d *down) reserveFor(a *restoring, n int, wait bool) int {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for wait && min(a.window, d.connection) <= 0 && d.failure == nil && !a.abandoned {
		d.changed.Wait()
	}
	n = max(0, min(n, a.window, d.connection))
	if d.failure != nil || a.abandoned {
		return 0
	}
	a.window -= n
	d.connection -= n
	d.owed += n
	return n
}

// noteHeader notes the fields that an answer begins with.
func (a *restoring) noteHeader(fields []hpack.HeaderField) {
	if a.header == nil {
		a.header = slices.Clone(fields)
	}
}
