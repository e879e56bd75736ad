package trace

import (
	"context"
	"sync"
	"sync/atomic"

	"image-cri-shim/proxy/intercept"
)

// Options says what a [Hub] works with.
type Options struct {
	// Endless are the methods that answer until somebody has enough. Their messages are
	// events of their own, also of calls that have begun before anybody read.
	Endless []string
	// Invoke asks the runtime for the names of what is there already. Nil does without.
	Invoke intercept.Invoke
}

// Hub is told of all calls, and tells those who read. It is safe for concurrent use;
// what it is told never waits for anybody.
type Hub struct {
	endless map[string]bool
	invoke  intercept.Invoke
	session atomic.Pointer[session] // nil while nobody reads

	mutex    sync.Mutex // of readers who come and go
	sessions uint64     // that have begun
}

// NewHub makes a hub, which holds nothing to be ended but its readers.
func NewHub(options Options) *Hub {
	h := &Hub{endless: make(map[string]bool), invoke: options.Invoke}
	for _, method := range options.Endless {
		h.endless[method] = true
	}
	return h
}

// Begin is told of a call that begins. It returns what is to be given the call's
// messages, nil for nothing.
func (h *Hub) Begin(call Call) *Tap {
	s := h.session.Load()
	if s == nil && !h.endless[call.Method] {
		return nil
	}
	tap := &Tap{hub: h, call: call, method: methods[call.Method]}
	tap.streams = h.endless[call.Method] || tap.method != nil && tap.method.streams
	if s != nil {
		tap.began = s.number
		s.begin(tap)
	}
	return tap
}

// End is told of a call, as it has begun, that has ended.
func (h *Hub) End(call Call, ending Ending) {
	s := h.session.Load()
	if s == nil {
		return
	}
	r := &record{call: call, method: methods[call.Method], ending: ending}
	if tap := s.ended(call.ID); tap != nil {
		tap.finish(r)
	}
	s.offer(r)
}

// Decided is told, while a call runs, what the shim has made of an image's name in it.
func (h *Hub) Decided(call uint64, decision Decision) {
	s := h.session.Load()
	if s == nil {
		return
	}
	if tap := s.running(call); tap != nil {
		tap.decide(decision)
	}
}

// Subscribe begins to read the events that fit a filter, with the messages if bodies is
// set. It returns when the names of what is there are known, or can't be had, or ctx is
// done. The reader must be closed.
func (h *Hub) Subscribe(ctx context.Context, filter Filter, bodies bool) *Reader {
	r := h.join(ctx, filter, bodies)
	select {
	case <-r.session.learned:
	case <-ctx.Done():
	}
	return r
}

// join adds a reader, and with the first one begins the session.
func (h *Hub) join(ctx context.Context, filter Filter, bodies bool) *Reader {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	s := h.session.Load()
	first := s == nil
	if first {
		h.sessions++
		s = newSession(h.sessions)
	}
	r := &Reader{hub: h, session: s, filter: filter, bodies: bodies, wake: make(chan struct{}, 1)}
	s.add(r)
	if first {
		h.session.Store(s)
		s.start(ctx, h.invoke)
	}
	return r
}

// leave ends a reader, and with the last one the session.
func (h *Hub) leave(r *Reader) {
	h.mutex.Lock()
	last := r.session.remove(r) == 0
	if last {
		h.session.Store(nil)
	}
	h.mutex.Unlock()
	if last {
		r.session.end()
	}
}
