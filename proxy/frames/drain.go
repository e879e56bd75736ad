package frames

import (
	"errors"
	"time"

	"golang.org/x/net/http2"
)

// drainState is the progress of a connection that ends gracefully. It is guarded by
// Relay.mutex.
type drainState struct {
	requested       bool          // Drain has been called
	finalGoAwaySent bool          // the client knows the last request that is answered
	timer           *time.Timer   // sends the final GOAWAY if the client does not answer
	done            chan struct{} // closed once nothing but unbounded requests is left
	closeStreaming  bool          // CloseStreaming has been called
}

const (
	// pingTimeout is how long a client may take to acknowledge a ping.
	pingTimeout = time.Second
	// closeTimeout bounds the closing of a connection without requests.
	closeTimeout = time.Second
)

// Drain starts a graceful shutdown of the connection; Run returns once it is done. The
// client completes the requests that it has begun and begins no others. Drain sends GOAWAY
// twice, so that no request in flight is lost (RFC 9113, 6.8): the client can repeat the
// requests that are not answered. Drain does not wait. Unbounded requests go on until
// CloseStreaming. A connection of another protocol reads nothing more from the client, and
// is closed soon.
//
// A client that has just connected gets the first GOAWAY after the server's SETTINGS.
// Before them (RFC 9113, 3.4) it would treat the connection attempt as failed.
func (r *Relay) Drain() {
	r.mutex.Lock()
	again, phase := r.drain.requested || r.failure != nil, r.phase
	r.drain.requested = true
	if !again {
		r.drain.timer = time.AfterFunc(pingTimeout, r.sendFinalGoAway)
	}
	r.mutex.Unlock()
	switch {
	case again:
	case phase == framed:
		r.sendFirstGoAway()
	case phase == raw:
		r.drainRaw()
	}
}

// Drained is closed when the connection has ended or, after Drain, only unbounded requests
// are left.
func (r *Relay) Drained() <-chan struct{} { return r.drain.done }

// CloseStreaming ends the unbounded requests that Drain leaves open, as soon as no others
// are left. The client learns that it can repeat them. It does not wait.
func (r *Relay) CloseStreaming() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.drain.closeStreaming = true
	r.checkDrained()
}

// checkDrained closes a draining connection once it has no requests left. The caller holds
// the mutex.
func (r *Relay) checkDrained() {
	draining := r.drain.finalGoAwaySent && r.onlyUnbounded()
	handling := len(r.intercepted)+r.sendingQueues > 0
	if !draining && (handling || !r.serverClosed) {
		return
	}
	r.closeDrained()
	if r.drain.closeStreaming {
		r.resetRemaining()
	}
	if !handling && (len(r.relayed) == 0 || r.serverClosed) {
		// The client closes it itself when it has read everything.
		_ = r.client.SetReadDeadline(time.Now().Add(closeTimeout))
	}
}

func (r *Relay) onlyUnbounded() bool {
	for _, s := range r.relayed {
		if !s.plan.Unbounded {
			return false
		}
	}
	for _, x := range r.intercepted {
		if !x.plan.Unbounded || !x.started {
			return false
		}
	}
	return true
}

// closeDrained closes the channel of Drained, once. The caller holds the mutex.
func (r *Relay) closeDrained() {
	select {
	case <-r.drain.done:
	default:
		close(r.drain.done)
	}
}

// ErrShutdown is the cause of the cancellation of a handler's context by CloseStreaming.
var ErrShutdown = errors.New("the relay has let go of the request")

// resetRemaining resets all open requests. The caller holds the mutex.
func (r *Relay) resetRemaining() {
	for _, x := range r.intercepted {
		x.cancel(ErrShutdown)
	}
	if len(r.relayed) == 0 {
		return
	}
	var b []byte
	var ended []func(Outcome)
	for id, s := range r.relayed {
		delete(r.relayed, id)
		r.discardStream(s)
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
			tell(Outcome{End: Shutdown})
		}
	})
}

// outlivesServer reports whether the connection stays open for intercepted requests and
// queued answers after the server has closed its own: the server has sent GOAWAY and has
// answered every request.
func (r *Relay) outlivesServer(err error) bool {
	r.mutex.Lock()
	outlives := errors.Is(err, ErrServerDisconnected) && r.failure == nil && r.serverGoAway && len(r.intercepted)+r.sendingQueues > 0
	for _, s := range r.relayed {
		outlives = outlives && s.serverDone
	}
	accepting := r.lastStreamID > r.maxClientStreamID
	r.serverClosed = outlives
	r.mutex.Unlock()
	if outlives && accepting { // requests that nothing would answer
		r.sendFinalGoAway()
	}
	return outlives
}
