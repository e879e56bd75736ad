package registry

import (
	"fmt"
	"sync"
	"time"
)

const (
	stallPauseMin  = 5 * time.Minute
	stallPauseMax  = time.Hour
	stallPauseRate = 2 // from one time to the next
)

// stall is whether a registry is passed over, which answers look-ups and then
// does not end a pull. No look-up can tell when it is well again, so that time
// has to, or a pull. Its methods may be called concurrently.
type stall struct {
	mu     sync.Mutex
	served time.Time     // the last pull that succeeded
	since  time.Time     // when a pull was last found to stall
	pause  time.Duration // from then on; 0 where a pull has succeeded since
}

// record takes note of a pull, begun at some time, that did not end in time. One
// that ran beside a pull that succeeded was of a big image, and one that had
// begun before the registry was passed over says nothing new.
func (s *stall) record(begun time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if begun.Before(s.served) || begun.Before(s.since) {
		return
	}
	s.since, s.pause = time.Now(), min(max(s.pause*stallPauseRate, stallPauseMin), stallPauseMax)
}

// end takes note of a pull that succeeded.
func (s *stall) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served, s.pause = time.Now(), 0
}

// withheld is why nothing is to be pulled from the registry now, nil if it may be.
func (s *stall) withheld() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	until := s.since.Add(s.pause)
	if s.pause == 0 || !time.Now().Before(until) {
		return nil
	}
	return fmt.Errorf("passed over until %s: a pull from it did not end in time", until.Format(time.TimeOnly))
}
