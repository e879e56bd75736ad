package registry

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/distribution/reference"
	"github.com/jellydator/ttlcache/v3"

	"image-cri-shim/printable"
)

// retryAfterMax bounds the delay that a registry can ask for.
const retryAfterMax = time.Hour

// lookupBackoff delays look-ups in one repository whose look-ups time out or are refused
// as too many, while the registry is up. Its methods may be called concurrently.
type lookupBackoff struct {
	mu        sync.Mutex
	overloads int           // in a row
	begunAt   time.Time     // when the last delay began
	delay     time.Duration // the last one; 0 once a look-up has been answered
	until     time.Time     // end of the last delay
	text      string        // of the failure
}

// record records the failure of a look-up that began at started.
func (b *lookupBackoff) record(started time.Time, outcome *failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if started.Before(b.begunAt) {
		return // the look-up is older than the delay
	}
	if outcome.reason.severity() == overloaded && outcome.retryAfter == 0 {
		if b.overloads++; b.overloads < overloadLimit {
			return
		}
	}
	b.delay = min(max(b.delay*backoffFactor, probeDelayMin), firstDelayMax)
	if outcome.retryAfter > 0 {
		b.delay = min(outcome.retryAfter, retryAfterMax)
	}
	b.begunAt, b.overloads, b.text = time.Now(), 0, outcome.text
	b.until = b.begunAt.Add(b.delay)
}

// allow returns an error during a delay.
func (b *lookupBackoff) allow() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !time.Now().Before(b.until) {
		return nil
	}
	return &failure{reason: ReasonCircuit, text: printable.Line(fmt.Sprintf("circuit of this repository open until %s: %s", b.until.Format(time.TimeOnly), b.text), textLimit)}
}

// repositoryKey is one repository of a registry.
type repositoryKey struct {
	endpoint   *endpoint
	repository string // with its host
}

func (q query) repositoryKey() repositoryKey {
	return repositoryKey{q.endpoint, reference.TrimNamed(q.reference).Name()}
}

// allow returns an error if a question must not be asked now because of its registry or
// its repository.
func (s *Set) allow(q query) error {
	if err := q.endpoint.breaker.allow(); err != nil {
		return err
	}
	if item := s.lookupBackoffs.Get(q.repositoryKey()); item != nil {
		return item.Value().allow()
	}
	return nil
}

// recordOutcome records the outcome of a look-up that began at started. If the registry
// seems to be down its circuit opens. If only the repository fails, its look-ups are
// delayed. early is a ping that began during the look-up, or nil.
func (s *Set) recordOutcome(q query, started time.Time, outcome *failure, early *ping) {
	e, key := q.endpoint, q.repositoryKey()
	assessed := e.breaker.record(started, key.repository, outcome)
	if assessed == suspect && !s.isUp(e, early) {
		assessed = down
	}
	switch {
	case assessed == down && e.breaker.trip(started, outcome):
		s.clearLookupBackoffs(e)
		s.running.Go(func() { s.awaitRecovery(e) })
	case outcome == nil || outcome.reason.severity() == answered:
		s.lookupBackoffs.Delete(key)
	case e.breaker.allow() == nil:
		item, _ := s.lookupBackoffs.GetOrSet(key, &lookupBackoff{})
		item.Value().record(started, outcome)
	}
}

// clearLookupBackoffs ends the delays of a registry's repositories once the registry
// itself is the fault.
func (s *Set) clearLookupBackoffs(e *endpoint) {
	s.lookupBackoffs.Range(func(item *ttlcache.Item[repositoryKey, *lookupBackoff]) bool {
		if item.Key().endpoint == e {
			defer s.lookupBackoffs.Delete(item.Key())
		}
		return true
	})
}

// retryAfter returns the delay that a response asks for, 0 if it asks for none.
func retryAfter(response *http.Response) time.Duration {
	text := response.Header.Get("Retry-After")
	if response.StatusCode != http.StatusTooManyRequests || text == "" {
		return 0
	}
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(seconds, 0), int(retryAfterMax/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// retryAfterError is an error of a response that asks for a delay.
type retryAfterError struct {
	after time.Duration
	cause error
}

func (r retryAfterError) Error() string { return r.cause.Error() }
func (r retryAfterError) Unwrap() error { return r.cause }
