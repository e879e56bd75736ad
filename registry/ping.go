package registry

import (
	"context"
	"time"
)

// ping is a request for the root of a registry's API. It is made when a lookup is slow or
// has failed. up may be read once done is closed.
type ping struct {
	done chan struct{}
	up   bool
}

// pingDelay returns how long a lookup runs before a ping starts.
func (s *Set) pingDelay() time.Duration { return s.lookupTimeout / 2 }

// startPing starts a ping, or returns the running one. It returns nil if the set is closed
// and no ping is running. The ping times out shortly before a lookup that began at the
// given time, so that it does not delay the callers of that lookup.
func (s *Set) startPing(e *endpoint, began time.Time) *ping {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || e.ping != nil {
		return e.ping
	}
	p := &ping{done: make(chan struct{})}
	e.ping = p
	s.running.Go(func() {
		ctx, cancel := context.WithDeadline(s.lifetime, began.Add(s.lookupTimeout-s.lookupTimeout/20))
		defer cancel()
		p.up = e.client.ping(ctx)
		s.mu.Lock()
		e.ping = nil
		s.mu.Unlock()
		close(p.done)
	})
	return p
}

// isUp reports whether a registry answers a ping. It waits for early, or for a new ping if
// early is nil.
func (s *Set) isUp(e *endpoint, early *ping) bool {
	p := early
	if p == nil {
		p = s.startPing(e, time.Now().Add(-s.pingDelay()))
	}
	if p == nil {
		return true
	}
	<-p.done
	return p.up
}
