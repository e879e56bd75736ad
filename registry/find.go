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
// good answer never waits for a worse registry. A candidate whose pull
// failed a moment ago comes after the others.
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
		queries := s.queries(name)
		lookups := make([]*lookup, len(queries))
		for i, q := range queries {
			lookups[i] = s.startLookup(q)
			if lookups[i].immediate {
				s.observe(q.endpoint, lookups[i].answer)
			}
		}
		var later postponed
		for i, l := range lookups {
			answer, ok := l.wait(waiting)
			if !ok {
				answer = Answer{Candidate: queries[i].candidate(), Err: s.waitError(ctx), Duration: time.Since(begun)}
			}
			answer.Credentials = queries[i].withServerAddress(answer.Credentials)
			if later.add(s, name, queries[i], &answer) {
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

// withServerAddress returns credentials with the server's address as the reference spells
// it. The runtime compares the two as text (see serverAddress).
func (q query) withServerAddress(credentials Credentials) Credentials {
	if credentials != (Credentials{}) {
		server := location{scheme: q.endpoint.location.scheme, host: reference.Domain(q.reference)}
		credentials.ServerAddress = server.serverAddress()
	}
	return credentials
}

// waitError returns the error of a caller that stops waiting for a look-up.
func (s *Set) waitError(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stopped waiting: %w", err)
	}
	return fmt.Errorf("no answer within %v, still asking", s.lookupTimeout)
}
