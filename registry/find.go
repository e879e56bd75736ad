package registry

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/distribution/reference"
)

// Find asks the registries whether they have an image. It yields the answers in the order
// of [Set.Candidates], each as soon as it is known. All lookups start when the iteration
// begins. A caller that stops at a good answer never waits for a registry of lower
// preference. After a failed pull, a candidate comes after the others for a while.
//
// Find waits until ctx is done, and at most 1.1 times [Options].LookupTimeout from the
// start of the iteration. An answer that is not known by then is yielded as Unknown with an
// error. Its lookup continues in the background, and the result is cached.
func (s *Set) Find(ctx context.Context, name reference.Named) iter.Seq[Answer] {
	return func(yield func(Answer) bool) {
		begun := time.Now()
		// A lookup that waits for a slot can take longer than its timeout.
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

// withServerAddress sets the server address of credentials to the host as the reference
// spells it. The runtime compares the two as strings (see serverAddress).
func (q query) withServerAddress(credentials Credentials) Credentials {
	if credentials != (Credentials{}) {
		server := location{scheme: q.endpoint.location.scheme, host: reference.Domain(q.reference)}
		credentials.ServerAddress = server.serverAddress()
	}
	return credentials
}

// waitError returns the error for a caller that stops waiting for a lookup.
func (s *Set) waitError(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stopped waiting: %w", err)
	}
	return fmt.Errorf("no answer within %v, lookup continues", s.lookupTimeout)
}
