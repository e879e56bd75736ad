package foreign

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

// hangingCalls wait for an answer that does not come: one that is taken, one that is
// restored, and others.
func hangingCalls() []call {
	var calls []call
	for _, c := range endedCalls() {
		if c.Cancel > 0 || c.CancelAfter > 0 {
			c.Name, _, _ = strings.Cut(c.Name, ", cancelled")
			c.Cancel, c.CancelAfter = 0, 0
			calls = append(calls, c)
		}
	}
	return calls
}

// wantOpen waits until the runtime has so many calls.
func (r *route) wantOpen(t *testing.T, calls int) {
	t.Helper()
	eventually(t, func() string {
		if got := r.report(t); got.Open != calls {
			return "the runtime does not have as many calls as its client"
		}
		return ""
	})
}

// TestKilledClient kills a client whose calls have no answer: they end for the runtime,
// and other clients are served.
func TestKilledClient(t *testing.T) {
	for _, library := range runtimes {
		for _, client := range clients {
			for _, path := range paths {
				t.Run(client+" to "+library+" "+path, func(t *testing.T) {
					t.Parallel()
					r := newRoute(t, library, path, script{})
					calls := hangingCalls()
					p := plan{Socket: r.socket, Groups: []group{{Concurrency: len(calls), Calls: calls}}}
					killed := p.start(t, client)
					r.wantOpen(t, len(calls))
					killed.kill()
					r.wantIdle(t)
					wantOK(t, plan{Socket: r.socket, Groups: []group{{Calls: shimCalls()[:2]}}}.make(t, client))
				})
			}
		}
	}
}

// TestKilledRuntime kills the runtime while calls have no answer: each fails as it does
// directly.
func TestKilledRuntime(t *testing.T) {
	for _, library := range []string{"grpcio", "grpc-js"} {
		for _, client := range clients {
			t.Run(client+" to "+library, func(t *testing.T) {
				t.Parallel()
				var want []result
				for _, path := range paths {
					r := newRoute(t, library, path, script{})
					calls := hangingCalls()
					client := plan{Socket: r.socket, Groups: []group{{Concurrency: len(calls), Calls: calls}}}.start(t, client)
					r.wantOpen(t, len(calls))
					r.process.kill()
					start := time.Now()
					got := client.results(t)
					if took := time.Since(start); took > 10*time.Second {
						t.Errorf("%s: the calls ended after %v", path, took)
					}
					for i := range got {
						got[i].Message = "" // grpc-js has the socket's error in it
						if got[i].Code != codes.Unavailable {
							t.Errorf("%s: %v", path, got[i])
						}
					}
					if path == direct {
						want = got
					}
					t.Run(path, func(t *testing.T) { wantSame(t, got, want) })
				}
			})
		}
	}
}
