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

// RecordPullFailure records a failed pull of a candidate that was Found. The cached answer
// is dropped, so that the next [Set.Find] asks again. For [Options].AbsentTTL the candidate
// comes after those of other registries.
//
// stalled is the duration of the pull if it was cut off for taking too long, and 0
// otherwise. After a stalled pull, images of this repository come last for some time, after
// the original registry, unless another pull from the repository succeeded in the meantime.
// Other repositories of the registry are not affected.
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

// endpointsAt returns the registries with the address of a candidate.
func (s *Set) endpointsAt(candidate Candidate) []*endpoint {
	var found []*endpoint
	for _, e := range s.endpoints {
		if e.location.String() == candidate.Registry {
			found = append(found, e)
		}
	}
	return found
}

// postponed holds the answers that are yielded after all others: first failed, then
// stalled.
type postponed struct{ failed, stalled []Answer }

// add keeps an answer that has to come later and reports whether it did: a pull from the
// repository stalled, the registry is down, or a pull of the image failed.
func (p *postponed) add(s *Set, name reference.Named, q query, answer *Answer) bool {
	if answer.State != Found {
		return false
	}
	until := s.postponedUntil(q.endpoint, answer.Reference)
	switch {
	case !until.IsZero():
		answer.Postponed = "comes last until " + until.Format(time.TimeOnly) + ": a pull from this repository stalled"
		answer.LastResort = q.endpoint.proximity(name) == 0
		p.stalled = append(p.stalled, *answer)
	case q.endpoint.breaker.allow() != nil:
		answer.Postponed = "comes later: the registry is down"
		p.failed = append(p.failed, *answer)
	case s.failedPulls.Has(referenceKey{q.endpoint, answer.Reference}):
		answer.Postponed = "comes later: a pull of this image failed recently"
		p.failed = append(p.failed, *answer)
	default:
		return false
	}
	return true
}
