package frames

import (
	"errors"
	"time"

	"golang.org/x/net/http2"
)

// drainState is the state of the graceful shutdown of a connection. It is guarded by
// Relay.mutex.
type drainState struct {
	requested       bool          // Drain has been called
	finalGoAwaySent bool          // sendFinalGoAway has been called
	timer           *time.Timer   // sends the final GOAWAY if the client does not acknowledge the PING
	done            chan struct{} // closed once only unbounded requests are left
	closeStreaming  bool          // CloseStreaming has been called
}

const (
	// pingTimeout is the time that a client has to acknowledge a PING.
	pingTimeout = time.Second
	// closeTimeout is the time that a peer has to close a connection without requests.
	closeTimeout = time.Second
)

// Drain starts a graceful shutdown of the connection and returns at once. Run returns when
// the shutdown is complete.
//
// For example, the client has the streams 1 and 3 open, and opens 5 before it has read the
// first GOAWAY. All three are answered. The relay sends the second GOAWAY when the client
// has acknowledged a PING that follows the first one, or after pingTimeout. The second one
// names stream 5 as the last stream, so the client knows that it can retry any later request
// (RFC 9113, 6.8). Unbounded requests continue until CloseStreaming.
//
// If the client has just connected, the first GOAWAY follows the server's SETTINGS. A client
// treats GOAWAY before SETTINGS as a failed connection attempt (RFC 9113, 3.4).
//
// If the connection is not HTTP/2, the relay stops reading from the client and closes the
// connection after pingTimeout at the latest.
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

// Drained returns a channel that is closed when the connection has ended or, after Drain,
// when only unbounded requests are left.
func (r *Relay) Drained() <-chan struct{} { return r.drain.done }

// CloseStreaming ends the unbounded requests once Drain has been called and no other
// requests are left. Relayed requests are reset with REFUSED_STREAM, which lets the client
// retry them. The contexts of handlers are cancelled with ErrShutdown. CloseStreaming does
// not wait.
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
		// The client closes the connection when it has read all frames. The relay does so
		// after closeTimeout.
		_ = r.client.SetReadDeadline(time.Now().Add(closeTimeout))
	}
}

// onlyUnbounded reports whether all open requests are unbounded. The caller holds the mutex.
func (r *Relay) onlyUnbounded() bool {
	for _, s := range r.relayed {
		if !s.plan.Unbounded {
			return false
		}
	}
	for _, i := range r.intercepted {
		if !i.plan.Unbounded || i.exchange == nil {
			return false
		}
	}
	return true
}

// closeDrained closes the channel of Drained if it is still open. The caller holds the mutex.
func (r *Relay) closeDrained() {
	select {
	case <-r.drain.done:
	default:
		close(r.drain.done)
	}
}

// ErrShutdown is the cause ([context.Cause]) of a handler's context that CloseStreaming has
// cancelled.
var ErrShutdown = errors.New("relay is shutting down")

// resetRemaining resets all open requests. The caller holds the mutex.
func (r *Relay) resetRemaining() {
	for _, i := range r.intercepted { // all have a handler by now
		i.exchange.cancel(ErrShutdown)
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
	r.handlers.Go(func() { // the write may block; Run waits for it
		if r.writeClient(b) != nil {
			r.fail(nil)
		}
		for _, tell := range ended {
			tell(Outcome{End: Shutdown})
		}
	})
}

// outlivesServer reports whether the client's connection stays open after the server's has
// ended with err. For example, the server has sent GOAWAY, has answered all requests and has
// closed its connection, while a handler still answers an intercepted request. The same
// holds while an answer of the server is still queued.
func (r *Relay) outlivesServer(err error) bool {
	r.mutex.Lock()
	outlives := errors.Is(err, ErrServerDisconnected) && r.failure == nil && r.serverGoAway && len(r.intercepted)+r.sendingQueues > 0
	for _, s := range r.relayed {
		outlives = outlives && s.serverDone
	}
	accepting := r.lastStreamID > r.maxClientStreamID
	r.serverClosed = outlives
	r.mutex.Unlock()
	if outlives && accepting { // the server could not answer new requests
		r.sendFinalGoAway()
	}
	return outlives
}
