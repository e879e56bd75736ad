package registry

import (
	"context"
	"time"
)

// check is a question at the root of a registry's API: whether the registry is up
// although a look-up fails. up may be read once done is closed.
type check struct {
	done chan struct{}
	up   bool
}

// checkDelay is the time that a look-up takes before a check begins.
func (s *Set) checkDelay() time.Duration { return s.lookupTimeout / 2 }

// check begins a check, or returns the one that is running. It is nil if the set
// has been closed. It ends a little before a look-up that began at some time, so that
// nobody who waits for the look-up waits for the check.
func (s *Set) check(e *endpoint, began time.Time) *check {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || e.check != nil {
		return e.check
	}
	c := &check{done: make(chan struct{})}
	e.check = c
	s.running.Go(func() {
		ctx, cancel := context.WithDeadline(s.lifetime, began.Add(s.lookupTimeout-s.lookupTimeout/20))
		defer cancel()
		c.up = e.client.answers(ctx)
		s.mu.Lock()
		e.check = nil
		s.mu.Unlock()
		close(c.done)
	})
	return c
}

// isUp reports whether a registry answers at the root of its API: anything but that
// it is overloaded. It takes the result of an early check if there is one.
func (s *Set) isUp(e *endpoint, early *check) bool {
	c := early
	if c == nil {
		c = s.check(e, time.Now().Add(-s.checkDelay()))
	}
	if c == nil {
		return true
	}
	<-c.done
	return c.up
}
