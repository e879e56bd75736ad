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
	pullBackoffFactor = 2 // ratio of each delay to the previous one
)

// pullBackoff postpones pulls from one repository of a registry after a pull has stalled.
// Since lookups can't show that pulls work again, it ends after a delay or with a
// successful pull. Methods are safe for concurrent use.
type pullBackoff struct {
	mu          sync.Mutex
	succeededAt time.Time     // end of the last pull that succeeded
	timedOutAt  time.Time     // end of the last pull that stalled
	delay       time.Duration // from timedOutAt on; 0 if a pull has succeeded since
}

// recordTimeout records a stalled pull that began at begun. It has no effect if another
// pull from the repository has succeeded since begun, because then the image may just be
// large, or if a stalled pull has been recorded since begun.
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

// until returns the time until which pulls from the repository come last, or the zero time
// if they are not postponed.
func (b *pullBackoff) until() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	until := b.timedOutAt.Add(b.delay)
	if b.delay == 0 || !time.Now().Before(until) {
		return time.Time{}
	}
	return until
}

// pullBackoffOf returns the backoff of a candidate's repository. If there is none, it
// creates one if create is set and otherwise returns nil. It returns nil for a candidate
// that is not a valid reference.
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

// postponedUntil returns the time until which pulls of a candidate come last, or the zero
// time if they are not postponed.
func (s *Set) postponedUntil(e *endpoint, candidate string) time.Time {
	if backoff := s.pullBackoffOf(e, candidate, false); backoff != nil {
		return backoff.until()
	}
	return time.Time{}
}

// describePullBackoffs returns a line for each registry that has postponed repositories.
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
		texts[e] = printable.Line(text+" stalled: they come last for now", textLimit)
	}
	return texts
}
