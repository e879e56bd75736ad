package trace

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

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
	history   history

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

// SetBuffer sets the number of bytes for finished calls, from [MinBuffer] to [MaxBuffer], or 0 to
// keep none. It takes effect at once.
func (h *Hub) SetBuffer(size int) { h.history.resize(size) }

// Begin reports the start of a call. It returns the tap for the call's messages, or nil if
// they are not needed.
func (h *Hub) Begin(call Call) *Tap {
	if h.history.enabled.Load() {
		h.history.begin(call)
	}
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
	s, sequence := h.session.Load(), uint64(0)
	if h.history.enabled.Load() {
		s, sequence = h.keep(h.history.line(call, result))
	}
	if s == nil {
		return
	}
	r := &record{call: call, method: methods[call.Method], result: result, sequence: sequence}
	if tap := s.untrack(call.ID); tap != nil {
		tap.finish(r)
	}
	s.enqueue(r)
}

// keep adds a line to the history. It returns the session of the readers that also need the
// event, and its number in the history. A reader that joins a session may get an event that is
// also in its snapshot of the history; by the number, the session leaves the event out.
func (h *Hub) keep(line []byte) (s *session, sequence uint64) {
	h.history.mutex.Lock()
	defer h.history.mutex.Unlock()
	return h.session.Load(), h.history.push(line)
}

// ObserveDecision reports a decision about an image name in a running call.
func (h *Hub) ObserveDecision(call uint64, decision Decision) {
	if h.history.enabled.Load() {
		h.history.addDecision(call, decision)
	}
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
	r := &Reader{hub: h, filter: filter, bodies: bodies, wake: make(chan struct{}, 1)}
	h.join(ctx, r, nil)
	r.session.waitForNames(ctx)
	return r
}

// SubscribeSince is like [Hub.Subscribe], and also returns the finished calls since start. No
// call is both in them and in the events of the reader, and none is missing between them. It
// returns [ErrNoHistory] if no calls are kept.
func (h *Hub) SubscribeSince(ctx context.Context, start time.Time, filter Filter, bodies bool) (*Reader, Past, error) {
	if !h.history.enabled.Load() {
		return nil, Past{}, ErrNoHistory
	}
	kept := newSnapshot()
	r := &Reader{hub: h, filter: filter, bodies: bodies, wake: make(chan struct{}, 1)}
	h.join(ctx, r, func() { h.history.copyTo(&kept) })
	r.session.waitForNames(ctx)
	return r, kept.since(start, filter), nil
}

// Past returns the finished calls since start that match filter. It returns [ErrNoHistory] if
// no calls are kept.
func (h *Hub) Past(start time.Time, filter Filter) (Past, error) {
	if !h.history.enabled.Load() {
		return Past{}, ErrNoHistory
	}
	kept := newSnapshot()
	h.history.mutex.Lock()
	h.history.copyTo(&kept)
	h.history.mutex.Unlock()
	return kept.since(start, filter), nil
}

// join adds a reader. The first reader starts a session. joined is called when the reader gets
// all later calls and no earlier one; calls that end wait for it. It may be nil.
func (h *Hub) join(ctx context.Context, r *Reader, joined func()) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	s := h.session.Load()
	first := s == nil
	if first {
		h.sessionCount++
		s = newSession(h.sessionCount)
	}
	r.session = s
	h.history.mutex.Lock()
	if joined != nil {
		joined()
		r.after = h.history.sequence
	}
	s.addReader(r)
	h.session.Store(s)
	h.history.mutex.Unlock()
	if first {
		s.start(ctx, h.invoke)
	}
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
