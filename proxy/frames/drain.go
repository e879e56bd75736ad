package frames

import (
	"errors"
	"time"

	"golang.org/x/net/http2"
)

// drainState is the progress of a connection that ends gracefully. It is guarded by
// Relay.mutex.
type drainState struct {
	requested      bool          // Drain has been called
	finalGoAway    bool          // the client knows the last request that is answered
	timer          *time.Timer   // sends the final GOAWAY if the client does not answer
	drained        chan struct{} // closed once nothing but unbounded requests is left
	closeStreaming bool          // CloseStreaming has been called
}

const (
	// pingTimeout is how long a client may take to acknowledge a ping.
	pingTimeout = time.Second
	// closeTimeout bounds the closing of a connection without requests.
	closeTimeout = time.Second
)

// Drain lets the client end what it has begun and begin nothing more, and then ends
// the connection; Run returns. It says so in two steps, so that no request is lost
// that is on its way (RFC 9113, 6.8): one that it does not answer, the client knows
// to make again. It does not wait. Endless requests go on until Dismiss. A connection of
// another protocol takes nothing more from the client, and is closed soon.
//
// A client that has just connected is asked once it has got the server's settings:
// before those (RFC 9113, 3.4) it would take its attempt to connect for failed.
func (r *Relay) Drain() {
	r.mutex.Lock()
	again, phase := r.drain.requested || r.failure != nil, r.phase
	r.drain.requested = true
	if !again {
		r.drain.timer = time.AfterFunc(pingTimeout, r.announce)
	}
	r.mutex.Unlock()
	switch {
	case again:
	case phase == framed:
		r.warn()
	case phase == raw:
		r.drainRaw()
	}
}

// Drained is closed when the connection has ended or, after Drain, has only endless
// requests left.
func (r *Relay) Drained() <-chan struct{} { return r.drain.drained }

// Dismiss lets go, once only they are left, of the endless requests that Drain leaves
// alone. The client learns that it can make them again. It does not wait.
func (r *Relay) Dismiss() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.drain.closeStreaming = true
	r.checkLeft()
}

// checkLeft ends a connection that is to end once it has no request left. The
// caller holds the mutex.
func (r *Relay) checkLeft() {
	draining := r.drain.finalGoAway && r.onlyEndless()
	handling := len(r.taken)+r.sending > 0
	if !draining && (handling || !r.serverClosed) {
		return
	}
	r.noteDrained()
	if r.drain.closeStreaming {
		r.dismiss()
	}
	if !handling && (len(r.open) == 0 || r.serverClosed) {
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
	case <-r.drain.drained:
	default:
		close(r.drain.drained)
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

// mayOutlive reports whether the connection goes on for taken requests and queued answers
// although the server has closed its own: it has said that it would, and has answered all.
func (r *Relay) mayOutlive(err error) bool {
	r.mutex.Lock()
	outlives := errors.Is(err, ErrServerGone) && r.failure == nil && r.serverGoAway && len(r.taken)+r.sending > 0
	for _, s := range r.open {
		outlives = outlives && s.serverDone
	}
	accepting := r.limit > r.highest
	r.serverClosed = outlives
	r.mutex.Unlock()
	if outlives && accepting { // requests that nothing would answer
		r.announce()
	}
	return outlives
}

// becomeRaw notes that the connection is of another protocol.
func (r *Relay) becomeRaw() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.phase = raw
	if r.drain.requested {
		r.drainRaw()
	}
}
