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

// retryAfterMax bounds the time for which a registry can ask not to be asked.
const retryAfterMax = time.Hour

// pause is a circuit of one repository, for faults that are not the registry's: its
// look-ups time out, or are answered that there were too many. Open, it closes after
// some time. Its methods may be called concurrently.
type pause struct {
	mu        sync.Mutex
	overloads int           // in a row
	since     time.Time     // of the last opening
	length    time.Duration // of the last one; 0 once a look-up has been answered
	until     time.Time
	text      string
}

// record notes a look-up that failed and began at some time.
func (p *pause) record(started time.Time, outcome *failure) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if started.Before(p.since) {
		return // it says nothing new
	}
	if outcome.reason.severity() == overloaded && outcome.retryAfter == 0 {
		if p.overloads++; p.overloads < overloadLimit {
			return
		}
	}
	p.length = min(max(p.length*probePauseRate, probePauseMin), firstPauseMax)
	if outcome.retryAfter > 0 {
		p.length = min(outcome.retryAfter, retryAfterMax)
	}
	p.since, p.overloads, p.text = time.Now(), 0, outcome.text
	p.until = p.since.Add(p.length)
}

// withheld returns why the repository must not be asked now, nil if it may be.
func (p *pause) withheld() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !time.Now().Before(p.until) {
		return nil
	}
	return &failure{reason: ReasonCircuit, text: printable.Line(fmt.Sprintf("circuit of this repository open until %s: %s", p.until.Format(time.TimeOnly), p.text), textLimit)}
}

// place is one repository of a registry.
type place struct {
	endpoint   *endpoint
	repository string // with its host
}

func (q question) place() place {
	return place{q.endpoint, reference.TrimNamed(q.reference).Name()}
}

// withheld returns why a question must not be asked now, because of its registry or
// its repository. It returns nil if it may be.
func (s *Set) withheld(q question) error {
	if err := q.endpoint.breaker.withheld(); err != nil {
		return err
	}
	if item := s.pauses.Get(q.place()); item != nil {
		return item.Value().withheld()
	}
	return nil
}

// judge notes how a look-up ended that began at some time. If the registry seems to
// be down its circuit opens, and if only the repository does, that of the repository.
// early is a check that began during the look-up; it may be nil.
func (s *Set) judge(q question, started time.Time, outcome *failure, early *check) {
	e, where := q.endpoint, q.place()
	found := e.breaker.judge(started, where.repository, outcome)
	if found == suspect && !s.isUp(e, early) {
		found = down
	}
	switch {
	case found == down && e.breaker.trip(started, outcome):
		s.resume(e)
		s.running.Go(func() { s.probe(e) })
	case outcome == nil || outcome.reason.severity() == answered:
		s.pauses.Delete(where)
	case e.breaker.withheld() == nil:
		item, _ := s.pauses.GetOrSet(where, &pause{})
		item.Value().record(started, outcome)
	}
}

// resume closes the circuits of a registry's repositories: the fault is the
// registry's.
func (s *Set) resume(e *endpoint) {
	s.pauses.Range(func(item *ttlcache.Item[place, *pause]) bool {
		if item.Key().endpoint == e {
			defer s.pauses.Delete(item.Key())
		}
		return true
	})
}

// retryAfter returns how long a response asks not to be asked again. It is 0 if it
// doesn't.
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

// retryLater is the error of a request that is answered with the time to wait.
type retryLater struct {
	after time.Duration
	cause error
}

func (r retryLater) Error() string { return r.cause.Error() }
func (r retryLater) Unwrap() error { return r.cause }
