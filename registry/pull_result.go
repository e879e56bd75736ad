package registry

import (
	"time"

	"github.com/distribution/reference"
)

// Pulled is for the caller who has pulled what was Found.
func (s *Set) Pulled(candidate Candidate) {
	for _, e := range s.at(candidate) {
		if stall := s.stallOf(e, candidate.Reference, true); stall != nil {
			stall.end()
		}
		s.failed.Delete(key{e, candidate.Reference})
	}
}

// Failed is for the caller whose pull of what was Found has failed: the next
// [Set.Find] asks again, and what is Found for a while comes after what the
// other registries have.
//
// If the pull was ended for the time it took, stalled is how long that was, and 0
// otherwise. Unless another pull from the repository has succeeded meanwhile,
// images of this repository then come last for some time, after the original
// registry. Other repositories of the registry are not concerned.
func (s *Set) Failed(candidate Candidate, stalled time.Duration) {
	for _, e := range s.at(candidate) {
		k := key{e, candidate.Reference}
		s.known.Delete(k)
		s.failed.Set(k, struct{}{}, s.absentTTL)
		if stalled <= 0 {
			continue
		}
		if stall := s.stallOf(e, candidate.Reference, true); stall != nil {
			stall.record(time.Now().Add(-stalled))
		}
	}
}

// at returns the registries at a candidate's address.
func (s *Set) at(candidate Candidate) []*endpoint {
	var found []*endpoint
	for _, e := range s.endpoints {
		if e.location.String() == candidate.Registry {
			found = append(found, e)
		}
	}
	return found
}

// postponed are the answers that come after all others, in this order.
type postponed struct{ failed, stalled []Answer }

// add reports whether an answer comes later because pulls of what was found fail, or
// because the registry has gone down since.
func (p *postponed) add(s *Set, name reference.Named, q question, answer *Answer) bool {
	if answer.State != Found {
		return false
	}
	until := s.stalled(q.endpoint, answer.Reference)
	switch {
	case !until.IsZero():
		answer.Postponed = "comes last until " + until.Format(time.TimeOnly) + ": a pull from this repository did not end in time"
		answer.LastResort = q.endpoint.closeness(name) == 0
		p.stalled = append(p.stalled, *answer)
	case q.endpoint.breaker.withheld() != nil:
		answer.Postponed = "comes later: the registry is known to be down"
		p.failed = append(p.failed, *answer)
	case s.failed.Has(key{q.endpoint, answer.Reference}):
		answer.Postponed = "comes later: a pull of it failed a moment ago"
		p.failed = append(p.failed, *answer)
	default:
		return false
	}
	return true
}
