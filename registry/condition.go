package registry

import (
	"sync/atomic"
	"time"

	"github.com/jellydator/ttlcache/v3"
)

// LookupEvent is one question to a registry and its outcome.
type LookupEvent struct {
	Candidate
	State    State
	Reason   Reason        // why Unknown
	Cached   bool          // remembered, or withheld by an open circuit: no request was sent
	Duration time.Duration // of the look-up; 0 without a request
}

// Condition is how a registry does, as this set has seen it.
type Condition struct {
	Registry string // its address
	Priority int

	Down    bool      // its circuit is open: it is not asked before it answers again
	Since   time.Time // when the circuit opened, or closed; zero before the first change
	Reason  string    // why it is down: one line, without secrets
	Stalled string    // which repositories are pulled from last for now, and why; empty if none

	Answered time.Time     // when its last look-up ended that it has answered; zero before
	Latency  time.Duration // of that look-up

	Lookups     int    // that run, or wait for others
	Connections int    // that are open for it, its token server's and idle ones included
	Remembered  int    // answers in the cache
	Hits        uint64 // questions that the cache has answered
	Misses      uint64 // and those that it could not
}

// Conditions returns the condition of each registry, the best priority first. It sends no
// request.
func (s *Set) Conditions() []Condition {
	remembered, lookups := s.counts()
	stalled := s.describePullBackoffs()
	conditions := make([]Condition, len(s.endpoints))
	for i, e := range s.endpoints {
		c := Condition{
			Registry:    e.location.String(),
			Priority:    e.priority,
			Lookups:     lookups[e],
			Connections: int(e.client.transport.connections.Load()),
			Remembered:  remembered[e],
			Hits:        e.stats.hits.Load(),
			Misses:      e.stats.misses.Load(),
		}
		c.Down, c.Since, c.Reason = e.breaker.state()
		c.Stalled = stalled[e]
		if last := e.stats.answered.Load(); last != nil {
			c.Answered, c.Latency = last.at, last.latency
		}
		conditions[i] = c
	}
	return conditions
}

// counts are each registry's answers in the cache and its look-ups.
func (s *Set) counts() (remembered, lookups map[*endpoint]int) {
	remembered, lookups = map[*endpoint]int{}, map[*endpoint]int{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cache.Range(func(item *ttlcache.Item[referenceKey, cachedAnswer]) bool {
		remembered[item.Key().endpoint]++
		return true
	})
	for _, e := range s.endpoints {
		lookups[e] = e.lookups
	}
	return remembered, lookups
}

// lookupStats counts the look-ups of a registry.
type lookupStats struct {
	hits, misses atomic.Uint64
	answered     atomic.Pointer[lastAnswer]
}

// lastAnswer is the time and the latency of a registry's last answer.
type lastAnswer struct {
	at      time.Time
	latency time.Duration
}

// observe records a look-up that has ended, or was not needed, and reports it.
func (s *Set) observe(e *endpoint, answer Answer) {
	event := LookupEvent{Candidate: answer.Candidate, State: answer.State, Reason: reasonOf(answer.Err), Cached: answer.Cached, Duration: answer.Duration}
	switch {
	case event.Reason == ReasonCredentials, event.Reason == ReasonCircuit, event.Reason == ReasonBusy, event.Reason == ReasonClosed:
		event.Duration = 0 // neither a request nor a cached answer
	case event.Cached:
		e.stats.hits.Add(1)
	default:
		e.stats.misses.Add(1)
		if event.Reason.severity() != unreachable {
			e.stats.answered.Store(&lastAnswer{time.Now(), event.Duration})
		}
	}
	s.onLookup(event)
}
