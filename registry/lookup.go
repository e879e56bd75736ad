package registry

import (
	"context"
	"sync/atomic"
	"time"
)

// lookup is one lookup in a registry. Concurrent callers share it.
type lookup struct {
	done      chan struct{} // closed when answer is known
	answer    Answer
	immediate bool // the answer was known without a request
}

// wait returns the answer, and false if ctx is done first.
func (l *lookup) wait(ctx context.Context) (Answer, bool) {
	select {
	case <-l.done:
		return l.answer, true
	default:
	}
	select {
	case <-l.done:
		return l.answer, true
	case <-ctx.Done():
		return Answer{}, false
	}
}

// startLookup starts a lookup, or returns the running one of the same candidate. If the
// answer is cached or no request may be sent, it returns a lookup that is already complete.
func (s *Set) startLookup(q query) *lookup {
	k := referenceKey{q.endpoint, q.reference.String()}
	answer := Answer{Candidate: q.candidate()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		answer.Err = errClosed
		return completed(answer)
	}
	var remembered cachedAnswer
	if item := s.cache.Get(k); item != nil { // used even if the circuit is open
		remembered = item.Value()
		if remembered.state == Absent || q.endpoint.authFile == nil {
			answer.recall(remembered, q.endpoint.login)
			return completed(answer)
		}
	}
	if err := s.allow(q); err != nil && remembered.state != Found {
		answer.Err, answer.Cached = err, true
		return completed(answer)
	}
	if running, ok := s.lookups[k]; ok {
		return running
	}
	if q.endpoint.lookups >= lookupLimit {
		answer.Err = errBusy
		return completed(answer)
	}
	l := &lookup{done: make(chan struct{}), answer: answer}
	s.lookups[k] = l
	q.endpoint.lookups++
	s.running.Go(func() {
		defer close(l.done)
		if remembered.state == Found {
			s.recall(q, remembered, &l.answer)
		} else {
			s.runLookup(q, &l.answer)
		}
		s.finishLookup(k, l.answer)
		s.observe(q.endpoint, l.answer)
	})
	return l
}

func completed(answer Answer) *lookup {
	l := &lookup{done: make(chan struct{}), answer: answer, immediate: true}
	close(l.done)
	return l
}

// credentials returns the current credentials for a query. It may read a file or run a
// credential helper.
func (s *Set) credentials(q query) (Credentials, error) {
	ctx, cancel := context.WithTimeout(s.lifetime, s.lookupTimeout)
	defer cancel()
	credentials, err := q.endpoint.credentials(ctx, q.reference)
	switch {
	case err == nil:
		return credentials, nil
	case s.lifetime.Err() != nil:
		return Credentials{}, errClosed
	default:
		return Credentials{}, credentialsFailure(err)
	}
}

// recall completes a cached answer with the current credentials.
func (s *Set) recall(q query, remembered cachedAnswer, answer *Answer) {
	credentials, err := s.credentials(q)
	if err != nil {
		answer.Err = err
		return
	}
	answer.recall(remembered, credentials)
}

// runLookup waits for a slot and runs the lookup, unless the circuit of the registry or of
// the repository has opened in the meantime. It gets the credentials first, so that a
// helper that hangs does not occupy a slot.
func (s *Set) runLookup(q query, answer *Answer) {
	credentials, err := s.credentials(q)
	if err != nil {
		answer.Err = err
		return
	}
	if q.endpoint.slots.acquire(s.lifetime) != nil {
		answer.Err = errClosed
		return
	}
	defer q.endpoint.slots.release()
	if err := s.allow(q); err != nil {
		answer.Err, answer.Cached = err, true
		return
	}
	s.lookUp(q, credentials, answer)
}

// lookUp asks the registry and records the outcome. If the answer takes longer than
// pingDelay, a ping starts, so that its result is known when the lookup times out.
func (s *Set) lookUp(q query, credentials Credentials, answer *Answer) {
	started := time.Now()
	ctx, cancel := context.WithTimeout(s.lifetime, s.lookupTimeout)
	defer cancel()
	var early atomic.Pointer[ping] // started during the lookup
	doubt := time.AfterFunc(s.pingDelay(), func() { early.Store(s.startPing(q.endpoint, started)) })
	state, digest, failure := q.endpoint.find(ctx, q.reference, credentials)
	doubt.Stop()
	answer.State, answer.Digest, answer.Duration = state, digest, time.Since(started)
	if state == Found {
		answer.Credentials = credentials
	}
	closed := s.lifetime.Err() != nil
	switch {
	case failure == nil:
	case closed:
		answer.Err = errClosed
	default:
		answer.Err = failure
	}
	if !closed {
		s.recordOutcome(q, started, failure, early.Load())
	}
}

// finishLookup removes a finished lookup and caches its answer.
func (s *Set) finishLookup(k referenceKey, answer Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lookups, k)
	k.endpoint.lookups--
	if answer.Cached || !s.caching {
		return // a cached answer expires even if it is used
	}
	keep := map[State]time.Duration{Found: s.foundTTL, Absent: s.absentTTL}
	if ttl, ok := keep[answer.State]; ok {
		now := time.Now()
		s.cache.Set(k, cachedAnswer{answer.State, answer.Digest, now, now.Add(ttl)}, ttl)
	}
}
