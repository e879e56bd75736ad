package registry

import (
	"fmt"
	"sync"
	"time"

	"github.com/distribution/reference"

	"image-cri-shim/printable"
)

const (
	pullBackoffMin    = 5 * time.Minute
	pullBackoffMax    = time.Hour
	pullBackoffFactor = 2 // of each delay to the one before
)

// pullBackoff postpones pulls from one repository of a registry after a pull has timed
// out. Look-ups can't show that pulls work again, so that a delay or a successful pull
// ends it. Its methods may be called concurrently.
type pullBackoff struct {
	mu          sync.Mutex
	succeededAt time.Time     // end of the last pull that succeeded
	timedOutAt  time.Time     // end of the last pull that timed out
	delay       time.Duration // from then on; 0 if a pull has succeeded since
}

// recordTimeout records the time-out of a pull that began at begun. It changes nothing if
// another pull from the repository has succeeded since, because a large image explains
// the time-out then, or if the repository has been postponed since.
func (b *pullBackoff) recordTimeout(begun time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if begun.Before(b.succeededAt) || begun.Before(b.timedOutAt) {
		return
	}
	b.timedOutAt, b.delay = time.Now(), min(max(b.delay*pullBackoffFactor, pullBackoffMin), pullBackoffMax)
}

// recordSuccess records a pull that succeeded.
func (b *pullBackoff) recordSuccess() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.succeededAt, b.delay = time.Now(), 0
}

// until returns the time until which pulls from the repository come last, the zero time
// if they don't.
func (b *pullBackoff) until() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	until := b.timedOutAt.Add(b.delay)
	if b.delay == 0 || !time.Now().Before(until) {
		return time.Time{}
	}
	return until
}

// pullBackoffOf returns the backoff of a candidate's repository. Without create it
// returns nil if there is none.
func (s *Set) pullBackoffOf(e *endpoint, candidate string, create bool) *pullBackoff {
	named, err := reference.ParseNamed(candidate)
	if err != nil {
		return nil
	}
	key := repositoryKey{e, named.Name()}
	if item := s.pullBackoffs.Get(key); item != nil {
		return item.Value()
	}
	if !create {
		return nil
	}
	item, _ := s.pullBackoffs.GetOrSet(key, &pullBackoff{})
	return item.Value()
}

// postponedUntil returns the time until which pulls of a candidate come last, the zero
// time if they don't.
func (s *Set) postponedUntil(e *endpoint, candidate string) time.Time {
	if backoff := s.pullBackoffOf(e, candidate, false); backoff != nil {
		return backoff.until()
	}
	return time.Time{}
}

// describePullBackoffs returns one line for each registry with repositories that come
// last.
func (s *Set) describePullBackoffs() map[*endpoint]string {
	first, count := map[*endpoint]string{}, map[*endpoint]int{}
	for _, item := range s.pullBackoffs.Items() {
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
