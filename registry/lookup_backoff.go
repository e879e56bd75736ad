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

// retryAfterMax bounds the delay that a registry can request with Retry-After.
const retryAfterMax = time.Hour

// lookupBackoff delays lookups in one repository while they fail although the registry is
// up: they are not answered, or are answered 429 or 5xx. Methods are safe for concurrent
// use.
type lookupBackoff struct {
	mu        sync.Mutex
	overloads int           // consecutive overloaded answers
	begunAt   time.Time     // start of the last delay
	delay     time.Duration // the last delay; 0 before the first
	until     time.Time     // end of the last delay
	text      string        // text of the failure
}

// record records the failure of a lookup that began at started.
func (b *lookupBackoff) record(started time.Time, outcome *failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if started.Before(b.begunAt) {
		return // the lookup began before the delay
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
	return &failure{reason: ReasonCircuit, text: printable.Line(fmt.Sprintf("this repository is not asked until %s: %s", b.until.Format(time.TimeOnly), b.text), textLimit)}
}

// repositoryKey identifies a repository of a registry.
type repositoryKey struct {
	endpoint   *endpoint
	repository string // with the host
}

func (q query) repositoryKey() repositoryKey {
	return repositoryKey{q.endpoint, reference.TrimNamed(q.reference).Name()}
}

// allow returns an error if the circuit of the registry or of the repository is open.
func (s *Set) allow(q query) error {
	if err := q.endpoint.breaker.allow(); err != nil {
		return err
	}
	if item := s.lookupBackoffs.Get(q.repositoryKey()); item != nil {
		return item.Value().allow()
	}
	return nil
}

// recordOutcome records the outcome of a lookup that began at started. If the registry
// seems to be down, its circuit opens. If only the repository fails, its lookups are
// delayed. early is a ping that started during the lookup, or nil.
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

// clearLookupBackoffs ends the delays of all repositories of a registry. It is called when
// the circuit of the registry opens.
func (s *Set) clearLookupBackoffs(e *endpoint) {
	s.lookupBackoffs.Range(func(item *ttlcache.Item[repositoryKey, *lookupBackoff]) bool {
		if item.Key().endpoint == e {
			defer s.lookupBackoffs.Delete(item.Key())
		}
		return true
	})
}

// retryAfter returns the delay that a 429 response requests with Retry-After, or 0.
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

// retryAfterError is the error of a response that requests a delay.
type retryAfterError struct {
	after time.Duration
	cause error
}

func (r retryAfterError) Error() string { return r.cause.Error() }
func (r retryAfterError) Unwrap() error { return r.cause }
