package registry

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/distribution/reference"
)

// Find asks the registries whether they have an image and yields the answers in
// the order of [Set.Candidates], each as soon as it is known. All registries are
// asked at once when the iteration begins, so that the caller who stops at a
// good answer never waits for a worse registry.
//
// ctx bounds only the waiting: a look-up goes on without its caller, for at most
// [Options].LookupTimeout, and is remembered. Once ctx is done the answers that
// are not yet known are yielded as Unknown with its error.
func (s *Set) Find(ctx context.Context, name reference.Named) iter.Seq[Answer] {
	return func(yield func(Answer) bool) {
		begun := time.Now()
		questions := s.questions(name)
		lookups := make([]*lookup, len(questions))
		for i, q := range questions {
			lookups[i] = s.ask(q)
		}
		for i, l := range lookups {
			answer, err := l.wait(ctx)
			if err != nil {
				answer = Answer{Candidate: questions[i].candidate(), Err: err, Duration: time.Since(begun)}
			}
			if !yield(answer) {
				return
			}
		}
	}
}

// lookup is a question to a registry, shared by all who ask it meanwhile.
type lookup struct {
	done   chan struct{} // closed when answer is known
	answer Answer
}

// wait returns the answer, or an error if ctx is done first.
func (l *lookup) wait(ctx context.Context) (Answer, error) {
	select {
	case <-l.done:
		return l.answer, nil
	default:
	}
	select {
	case <-l.done:
		return l.answer, nil
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("stopped waiting: %w", ctx.Err())
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
	if item := s.known.Get(k); item != nil {
		answer.State, answer.Digest, answer.Cached = item.Value().state, item.Value().digest, true
		return known(answer)
	}
	if err := q.endpoint.breaker.withheld(); err != nil {
		answer.Err, answer.Cached = err, true
		return known(answer)
	}
	if running, ok := s.lookups[k]; ok {
		return running
	}
	l := &lookup{done: make(chan struct{}), answer: answer}
	s.lookups[k] = l
	s.running.Go(func() { s.run(k, q, l) })
	return l
}

func known(answer Answer) *lookup {
	l := &lookup{done: make(chan struct{}), answer: answer}
	close(l.done)
	return l
}

// run asks the registry.
func (s *Set) run(k key, q question, l *lookup) {
	defer close(l.done)
	started := time.Now()
	ctx, cancel := context.WithTimeout(s.lifetime, s.lookupTimeout)
	defer cancel()
	state, digest, failure := q.endpoint.client.find(ctx, q.reference)
	l.answer.State, l.answer.Digest, l.answer.Duration = state, digest, time.Since(started)
	closed := s.lifetime.Err() != nil
	switch {
	case failure == nil:
	case closed:
		l.answer.Err = errClosed
	default:
		l.answer.Err = failure
	}
	if !closed && q.endpoint.breaker.record(started, failure) {
		s.running.Go(func() { s.probe(q.endpoint) })
	}
	s.finish(k, finding{state, digest})
}

// finish remembers what a look-up has found.
func (s *Set) finish(k key, f finding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lookups, k)
	switch f.state {
	case Found:
		s.known.Set(k, f, s.foundTTL)
	case Absent:
		s.known.Set(k, f, s.absentTTL)
	}
}
