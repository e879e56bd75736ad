package foreign

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

// hangingCalls are calls whose answer does not come. The shim handles one itself, rewrites
// the answer of another, and forwards the others.
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

// wantOpen waits until the runtime has this number of open calls.
func (r *route) wantOpen(t *testing.T, calls int) {
	t.Helper()
	eventually(t, func() string {
		if got := r.report(t); got.Open != calls {
			return "the runtime does not have as many open calls as its client"
		}
		return ""
	})
}

// TestKilledClient kills a client whose calls have no answer. The calls must end in the
// runtime, and other clients must be served.
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

// TestKilledRuntime kills the runtime while calls have no answer. Each call must fail as it
// does without the shim.
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
						got[i].Message = "" // grpc-js includes the socket's error
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
