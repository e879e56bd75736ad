package registry

import (
	"time"

	"github.com/distribution/reference"
)

// Pulled is for the caller who has pulled what was Found.
func (s *Set) Pulled(candidate Candidate) {
	for _, e := range s.at(candidate) {
		e.stall.end()
		s.failed.Delete(key{e, candidate.Reference})
	}
}

// Failed is for the caller whose pull of what was Found has failed: the next
// [Set.Find] asks again, and what is Found for a while comes after what the
// other registries have.
//
// Where the pull was given up for the time it took, stalled is how long that was,
// and 0 otherwise. Unless another pull from the registry has succeeded meanwhile,
// the registry is then passed over for some time: what it has is Unknown, or
// comes last where no original registry comes after it.
func (s *Set) Failed(candidate Candidate, stalled time.Duration) {
	for _, e := range s.at(candidate) {
		k := key{e, candidate.Reference}
		s.known.Delete(k)
		s.failed.Set(k, struct{}{}, s.absentTTL)
		if stalled > 0 {
			e.stall.record(time.Now().Add(-stalled))
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

// add tells whether an answer has to wait because pulls of what was found fail.
// Where it is passed over instead it becomes Unknown.
func (p *postponed) add(s *Set, name reference.Named, q question, answer *Answer) bool {
	if answer.State != Found {
		return false
	}
	passedOver := q.endpoint.stall.withheld()
	switch {
	case passedOver != nil && q.endpoint.closeness(name) == 0 && s.MayFallBack(name):
		*answer = Answer{Candidate: answer.Candidate, Err: passedOver, Duration: answer.Duration, Cached: answer.Cached}
		return false
	case passedOver != nil:
		answer.Postponed = "comes last: a pull from this registry did not end in time"
		p.stalled = append(p.stalled, *answer)
	case s.failed.Has(key{q.endpoint, answer.Reference}):
		answer.Postponed = "comes later: a pull of it failed a moment ago"
		p.failed = append(p.failed, *answer)
	default:
		return false
	}
	return true
}
