package registry

import (
	"time"

	"github.com/distribution/reference"
)

// RecordPull records a successful pull of a candidate that was Found.
func (s *Set) RecordPull(candidate Candidate) {
	for _, e := range s.endpointsAt(candidate) {
		if backoff := s.pullBackoffOf(e, candidate.Reference, true); backoff != nil {
			backoff.recordSuccess()
		}
		s.failedPulls.Delete(referenceKey{e, candidate.Reference})
	}
}

// RecordPullFailure records a failed pull of a candidate that was Found. The next
// [Set.Find] asks again, and for a while the candidate comes after those that other
// registries have.
//
// stalled is how long the pull took if it was ended for that, and 0 otherwise. Unless
// another pull from the repository has succeeded meanwhile, images of this repository then
// come last for some time, after the original registry. Other repositories of the registry
// are not concerned.
func (s *Set) RecordPullFailure(candidate Candidate, stalled time.Duration) {
	for _, e := range s.endpointsAt(candidate) {
		k := referenceKey{e, candidate.Reference}
		s.cache.Delete(k)
		s.failedPulls.Set(k, struct{}{}, s.absentTTL)
		if stalled <= 0 {
			continue
		}
		if backoff := s.pullBackoffOf(e, candidate.Reference, true); backoff != nil {
			backoff.recordTimeout(time.Now().Add(-stalled))
		}
	}
}

// endpointsAt returns the registries at the address of a candidate.
func (s *Set) endpointsAt(candidate Candidate) []*endpoint {
	var found []*endpoint
	for _, e := range s.endpoints {
		if e.location.String() == candidate.Registry {
			found = append(found, e)
		}
	}
	return found
}

// postponed holds the answers that come after all others, in this order.
type postponed struct{ failed, stalled []Answer }

// add reports whether an answer comes later: pulls of the image fail, or the registry has
// gone down since.
func (p *postponed) add(s *Set, name reference.Named, q query, answer *Answer) bool {
	if answer.State != Found {
		return false
	}
	until := s.postponedUntil(q.endpoint, answer.Reference)
	switch {
	case !until.IsZero():
		answer.Postponed = "comes last until " + until.Format(time.TimeOnly) + ": a pull from this repository did not end in time"
		answer.LastResort = q.endpoint.proximity(name) == 0
		p.stalled = append(p.stalled, *answer)
	case q.endpoint.breaker.allow() != nil:
		answer.Postponed = "comes later: the registry is known to be down"
		p.failed = append(p.failed, *answer)
	case s.failedPulls.Has(referenceKey{q.endpoint, answer.Reference}):
		answer.Postponed = "comes later: a pull of it failed a moment ago"
		p.failed = append(p.failed, *answer)
	default:
		return false
	}
	return true
}
