package registry

import (
	"sync/atomic"
	"time"

	"github.com/jellydator/ttlcache/v3"
)

// LookupEvent describes a finished lookup in one registry.
type LookupEvent struct {
	Candidate
	State    State
	Reason   Reason        // reason for Unknown
	Cached   bool          // no request was sent: the answer was cached, or the circuit is open
	Duration time.Duration // of the lookup; 0 if no request was sent
}

// Condition is the state of a registry as observed by this set.
type Condition struct {
	Registry string // its address
	Priority int

	Down    bool      // the circuit is open: the registry is not asked until it answers a probe
	Since   time.Time // when the circuit last opened or closed; zero before the first change
	Reason  string    // why the registry is down: one line, without secrets
	Stalled string    // repositories that come last after a stalled pull; empty if none

	Answered time.Time     // end of the last answered lookup; zero before the first
	Latency  time.Duration // of that lookup

	Lookups      int    // running and waiting lookups
	Connections  int    // open connections, including idle ones and those to its token server
	CacheEntries int    // cached answers
	Hits         uint64 // lookups answered from the cache
	Misses       uint64 // lookups sent to the registry
}

// Conditions returns the condition of each registry, highest priority first. It sends no
// request.
func (s *Set) Conditions() []Condition {
	remembered, lookups := s.counts()
	stalled := s.describePullBackoffs()
	conditions := make([]Condition, len(s.endpoints))
	for i, e := range s.endpoints {
		c := Condition{
			Registry:     e.location.String(),
			Priority:     e.priority,
			Lookups:      lookups[e],
			Connections:  int(e.client.transport.connections.Load()),
			CacheEntries: remembered[e],
			Hits:         e.stats.hits.Load(),
			Misses:       e.stats.misses.Load(),
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

// counts returns the number of cached answers and of lookups of each registry.
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

// lookupStats counts the lookups of a registry.
type lookupStats struct {
	hits, misses atomic.Uint64
	answered     atomic.Pointer[lastAnswer]
}

// lastAnswer is the time and the latency of a registry's last answer.
type lastAnswer struct {
	at      time.Time
	latency time.Duration
}

// observe records a lookup that has ended or was answered without a request, and passes it
// to Options.OnLookup.
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
