package registry

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/distribution/reference"
)

// Find asks the registries whether they have an image and yields the answers in
// the order of [Set.Candidates], each as soon as it is known. All registries are
// asked at once when the iteration begins, so that the caller who stops at a
// good answer never waits for a worse registry. What [Set.Failed] was told of a
// moment ago comes after the others.
//
// The waiting is bounded by ctx, and from its begin by [Options].LookupTimeout
// and a tenth of it. The answers that are not known by then are yielded as
// Unknown with the error of ctx or one that says so. A look-up goes on without
// its caller and is remembered.
func (s *Set) Find(ctx context.Context, name reference.Named) iter.Seq[Answer] {
	return func(yield func(Answer) bool) {
		begun := time.Now()
		// A look-up that had to wait for others takes longer than its time-out.
		waiting, stop := context.WithTimeout(ctx, s.lookupTimeout+s.lookupTimeout/10)
		defer stop()
		questions := s.questions(name)
		lookups := make([]*lookup, len(questions))
		for i, q := range questions {
			lookups[i] = s.ask(q)
			if lookups[i].known {
				s.note(q.endpoint, lookups[i].answer)
			}
		}
		var later postponed
		for i, l := range lookups {
			answer, ok := l.wait(waiting)
			if !ok {
				answer = Answer{Candidate: questions[i].candidate(), Err: s.impatience(ctx), Duration: time.Since(begun)}
			}
			answer.Credentials = questions[i].spell(answer.Credentials)
			if later.add(s, name, questions[i], &answer) {
				continue
			}
			if !yield(answer) {
				return
			}
		}
		for _, answer := range append(later.failed, later.stalled...) {
			if !yield(answer) {
				return
			}
		}
	}
}

// spell returns credentials with the server's address as the reference has it. The
// runtime compares the two as text (see serverAddress).
func (q question) spell(credentials Credentials) Credentials {
	if credentials != (Credentials{}) {
		server := location{scheme: q.endpoint.location.scheme, host: reference.Domain(q.reference)}
		credentials.ServerAddress = server.serverAddress()
	}
	return credentials
}

// impatience is why nobody waits for a look-up any longer.
func (s *Set) impatience(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stopped waiting: %w", err)
	}
	return fmt.Errorf("no answer within %v, still asking", s.lookupTimeout)
}

// lookup is a question to a registry, shared by all who ask it meanwhile.
type lookup struct {
	done   chan struct{} // closed when answer is known
	answer Answer
	known  bool // without anybody being asked
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

// ask begins a look-up, unless its answer is known or another one is running.
func (s *Set) ask(q question) *lookup {
	k := key{q.endpoint, q.reference.String()}
	answer := Answer{Candidate: q.candidate()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		answer.Err = errClosed
		return known(answer)
	}
	var remembered finding
	if item := s.known.Get(k); item != nil { // it counts while the circuit is open, too
		remembered = item.Value()
		if remembered.state == Absent || q.endpoint.authFile == nil {
			answer.recall(remembered, q.endpoint.login)
			return known(answer)
		}
	}
	if err := s.withheld(q); err != nil && remembered.state != Found {
		answer.Err, answer.Cached = err, true
		return known(answer)
	}
	if running, ok := s.lookups[k]; ok {
		return running
	}
	if q.endpoint.lookups >= lookupLimit {
		answer.Err = errBusy
		return known(answer)
	}
	l := &lookup{done: make(chan struct{}), answer: answer}
	s.lookups[k] = l
	q.endpoint.lookups++
	s.running.Go(func() {
		defer close(l.done)
		if remembered.state == Found {
			s.recall(q, remembered, &l.answer)
		} else {
			s.run(q, &l.answer)
		}
		s.finish(k, l.answer)
		s.note(q.endpoint, l.answer)
	})
	return l
}

func known(answer Answer) *lookup {
	l := &lookup{done: make(chan struct{}), answer: answer, known: true}
	close(l.done)
	return l
}

// login returns the credentials of this moment, for which a file may have to be
// read or a helper to be run.
func (s *Set) login(q question) (Credentials, error) {
	ctx, cancel := context.WithTimeout(s.lifetime, s.lookupTimeout)
	defer cancel()
	credentials, err := q.endpoint.credentials(ctx, q.reference)
	switch {
	case err == nil:
		return credentials, nil
	case s.lifetime.Err() != nil:
		return Credentials{}, errClosed
	default:
		return Credentials{}, withoutCredentials(err)
	}
}

// recall answers with what is remembered.
func (s *Set) recall(q question, remembered finding, answer *Answer) {
	credentials, err := s.login(q)
	if err != nil {
		answer.Err = err
		return
	}
	answer.recall(remembered, credentials)
}

// run looks up as soon as there is a slot, unless the registry or the repository has
// gone down meanwhile. It has the credentials before: a helper that hangs takes no slot.
func (s *Set) run(q question, answer *Answer) {
	credentials, err := s.login(q)
	if err != nil {
		answer.Err = err
		return
	}
	if q.endpoint.slots.acquire(s.lifetime) != nil {
		answer.Err = errClosed
		return
	}
	defer q.endpoint.slots.release()
	if err := s.withheld(q); err != nil {
		answer.Err, answer.Cached = err, true
		return
	}
	s.lookUp(q, credentials, answer)
}

// lookUp asks the registry.
func (s *Set) lookUp(q question, credentials Credentials, answer *Answer) {
	started := time.Now()
	ctx, cancel := context.WithTimeout(s.lifetime, s.lookupTimeout)
	defer cancel()
	var early atomic.Pointer[check] // because there is no answer yet
	doubt := time.AfterFunc(s.checkDelay(), func() { early.Store(s.check(q.endpoint, started)) })
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
		s.judge(q, started, failure, early.Load())
	}
}

// finish ends a look-up and remembers what it has found.
func (s *Set) finish(k key, answer Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lookups, k)
	k.endpoint.lookups--
	if answer.Cached || !s.cached {
		return // an answer ages however often it is asked for
	}
	switch f := (finding{answer.State, answer.Digest}); f.state {
	case Found:
		s.known.Set(k, f, s.foundTTL)
	case Absent:
		s.known.Set(k, f, s.absentTTL)
	}
}
