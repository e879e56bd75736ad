package registry

import (
	"fmt"
	"sync"
	"time"

	"github.com/distribution/reference"

	"image-cri-shim/printable"
)

const (
	stallPauseMin  = 5 * time.Minute
	stallPauseMax  = time.Hour
	stallPauseRate = 2 // from one time to the next
)

// stall holds how pulls from one repository of a registry ended. A registry may
// answer look-ups for it and then not end its pulls. No look-up can tell when that
// is over, so that time has to, or a pull. Its methods may be called concurrently.
type stall struct {
	mu     sync.Mutex
	served time.Time     // the last pull that succeeded
	since  time.Time     // when a pull was last found to stall
	pause  time.Duration // from then on; 0 if a pull has succeeded since
}

// record notes a pull that began at some time and did not end in time. If another
// pull from the repository has succeeded meanwhile, it was of a big image. If the
// repository has been postponed since it began, it says nothing new.
func (s *stall) record(begun time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if begun.Before(s.served) || begun.Before(s.since) {
		return
	}
	s.since, s.pause = time.Now(), min(max(s.pause*stallPauseRate, stallPauseMin), stallPauseMax)
}

// end notes a pull that succeeded.
func (s *stall) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served, s.pause = time.Now(), 0
}

// until returns the time until which pulls from the repository come last. It is
// zero if they don't.
func (s *stall) until() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	until := s.since.Add(s.pause)
	if s.pause == 0 || !time.Now().Before(until) {
		return time.Time{}
	}
	return until
}

// stallOf returns what is known of the pulls from a candidate's repository. Without
// create it is nil if that is nothing.
func (s *Set) stallOf(e *endpoint, candidate string, create bool) *stall {
	named, err := reference.ParseNamed(candidate)
	if err != nil {
		return nil
	}
	where := place{e, named.Name()}
	if item := s.stalls.Get(where); item != nil {
		return item.Value()
	}
	if !create {
		return nil
	}
	item, _ := s.stalls.GetOrSet(where, &stall{})
	return item.Value()
}

// stalled returns the time until which pulls of a candidate come last. It is zero
// if they don't.
func (s *Set) stalled(e *endpoint, candidate string) time.Time {
	if stall := s.stallOf(e, candidate, false); stall != nil {
		return stall.until()
	}
	return time.Time{}
}

// describeStalls says which repositories of each registry come last, in one line.
func (s *Set) describeStalls() map[*endpoint]string {
	first, count := map[*endpoint]string{}, map[*endpoint]int{}
	for _, item := range s.stalls.Items() {
		if e := item.Key().endpoint; !item.Value().until().IsZero() {
			count[e]++
			if repository := item.Key().repository; first[e] == "" || repository < first[e] {
				first[e] = repository
			}
		}
	}
	texts := map[*endpoint]string{}
	for e, repository := range first {
		text := "pulls from " + repository
		if count[e] > 1 {
			text += fmt.Sprintf(" and %d more of its repositories", count[e]-1)
		}
		texts[e] = printable.Line(text+" did not end in time: they come last for now", textLimit)
	}
	return texts
}
