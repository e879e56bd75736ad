package frames

import (
	"errors"
	"time"

	"golang.org/x/net/http2"
)

// Drained is closed when the connection has ended or, after Drain, has only endless
// requests left.
func (r *Relay) Drained() <-chan struct{} { return r.drained }

// Dismiss lets go, once only they are left, of the endless requests that Drain leaves
// alone. The client learns that it can make them again. It does not wait.
func (r *Relay) Dismiss() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.dismissed = true
	r.checkLeft()
}

// checkLeft ends a connection that is to end once it has no request left. The
// caller holds the mutex.
func (r *Relay) checkLeft() {
	draining := r.announced && r.onlyEndless()
	handling := len(r.taken)+r.sending > 0
	if !draining && (handling || !r.serverGone) {
		return
	}
	r.noteDrained()
	if r.dismissed {
		r.dismiss()
	}
	if !handling && (len(r.open) == 0 || r.serverGone) {
		// The client closes it itself when it has read everything.
		_ = r.client.SetReadDeadline(time.Now().Add(closeTimeout))
	}
}

func (r *Relay) onlyEndless() bool {
	for _, s := range r.open {
		if !s.plan.Endless {
			return false
		}
	}
	for _, x := range r.taken {
		if !x.plan.Endless || !x.begun {
			return false
		}
	}
	return true
}

// noteDrained closes drained, once. The caller holds the mutex.
func (r *Relay) noteDrained() {
	select {
	case <-r.drained:
	default:
		close(r.drained)
	}
}

// ErrDismissed is the cause of the end of a handler's context where the relay lets go of
// its request.
var ErrDismissed = errors.New("the relay has let go of the request")

// dismiss ends all requests that are left. The caller holds the mutex.
func (r *Relay) dismiss() {
	for _, x := range r.taken {
		x.cancel(ErrDismissed)
	}
	if len(r.open) == 0 {
		return
	}
	var b []byte
	var ended []func(Outcome)
	for id, s := range r.open {
		delete(r.open, id)
		r.discard(s)
		if !r.resetAfterQueue(s, http2.ErrCodeRefusedStream) {
			b = appendReset(b, id, http2.ErrCodeRefusedStream)
		}
		if s.plan.Ended != nil {
			ended = append(ended, s.plan.Ended)
		}
	}
	r.handlers.Go(func() { // the client may not read; Run waits for it as for a handler
		if r.writeClient(b) != nil {
			r.fail(nil)
		}
		for _, tell := range ended {
			tell(Outcome{End: Dismissed})
		}
	})
}
