package trace

import (
	"context"
	"sync"
	"sync/atomic"

	"image-cri-shim/proxy/intercept"
)

// Options configure a [Hub].
type Options struct {
	// UnboundedStreams are methods that stream messages until the client cancels the call.
	// Each message is an event, also in calls that started before the trace.
	UnboundedStreams []string
	// Invoke is used to list the existing pods and containers. It may be nil.
	Invoke intercept.Invoke
}

// Hub distributes calls to readers. It is safe for concurrent use. Reporting a call never
// blocks on a reader.
type Hub struct {
	unbounded map[string]bool
	invoke    intercept.Invoke
	session   atomic.Pointer[session] // nil without readers

	mutex        sync.Mutex // serializes join and leave
	sessionCount uint64     // guarded by mutex
}

// NewHub returns a hub. It needs no closing once its readers are closed.
func NewHub(options Options) *Hub {
	h := &Hub{unbounded: make(map[string]bool), invoke: options.Invoke}
	for _, method := range options.UnboundedStreams {
		h.unbounded[method] = true
	}
	return h
}

// Begin reports the start of a call. It returns the tap for the call's messages, or nil if
// they are not needed.
func (h *Hub) Begin(call Call) *Tap {
	s := h.session.Load()
	if s == nil && !h.unbounded[call.Method] {
		return nil
	}
	tap := &Tap{hub: h, call: call, method: methods[call.Method]}
	tap.streaming = h.unbounded[call.Method] || tap.method != nil && tap.method.streaming
	if s != nil {
		tap.sessionID = s.id
		s.beginCall(tap)
	}
	return tap
}

// End reports the end of a call. call is the one passed to [Hub.Begin].
func (h *Hub) End(call Call, result Result) {
	s := h.session.Load()
	if s == nil {
		return
	}
	r := &record{call: call, method: methods[call.Method], result: result}
	if tap := s.untrack(call.ID); tap != nil {
		tap.finish(r)
	}
	s.enqueue(r)
}

// ObserveDecision reports a decision about an image name in a running call.
func (h *Hub) ObserveDecision(call uint64, decision Decision) {
	s := h.session.Load()
	if s == nil {
		return
	}
	if tap := s.findTap(call); tap != nil {
		tap.addDecision(decision)
	}
}

// Subscribe returns a reader of the events that match filter, with the messages if bodies
// is set. It waits for the names of existing pods and containers, unless they can't be
// listed or ctx is done. The reader must be closed.
func (h *Hub) Subscribe(ctx context.Context, filter Filter, bodies bool) *Reader {
	r := h.join(ctx, filter, bodies)
	select {
	case <-r.session.loaded:
	case <-ctx.Done():
	}
	return r
}

// join adds a reader. The first reader starts a session.
func (h *Hub) join(ctx context.Context, filter Filter, bodies bool) *Reader {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	s := h.session.Load()
	first := s == nil
	if first {
		h.sessionCount++
		s = newSession(h.sessionCount)
	}
	r := &Reader{hub: h, session: s, filter: filter, bodies: bodies, wake: make(chan struct{}, 1)}
	s.addReader(r)
	if first {
		h.session.Store(s)
		s.start(ctx, h.invoke)
	}
	return r
}

// leave removes a reader. The last reader ends the session.
func (h *Hub) leave(r *Reader) {
	h.mutex.Lock()
	last := r.session.removeReader(r) == 0
	if last {
		h.session.Store(nil)
	}
	h.mutex.Unlock()
	if last {
		r.session.end()
	}
}
