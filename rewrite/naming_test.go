package rewrite

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestNamingOfAPull pulls by a tag, and by a digest.
func TestNamingOfAPull(t *testing.T) {
	bubble(t, func(t *testing.T, n *namingNode) {
		image := n.push(stored)
		id := n.mustPull("nginx:1.25")
		n.wantStored(recorded{image, []string{asked}})
		want := names(n.runtime.image(id))
		if got := names(n.status(asked)); got != want || !strings.Contains(want, asked) {
			t.Errorf("status %s, want %s", got, want)
		}
		if got := n.list(); !slices.Equal(got, []string{want}) {
			t.Errorf("list %q, want %s", got, want)
		}
		if warnings := n.warned(); len(warnings) > 0 || !n.isSettled() {
			t.Errorf("warnings %q, settled: %v", warnings, n.isSettled())
		}
	})
	bubble(t, func(t *testing.T, n *namingNode) {
		image := n.push(stored)
		n.mustPull("nginx@" + image.digest)
		n.wantStored(recorded{image, []string{"docker.io/library/nginx@" + image.digest}})
	})
}

// failures are the ways in which a call of the namer can fail.
var failures = map[string]func(ctx context.Context, invoke func() ([]byte, error)) ([]byte, error){
	"Unavailable":      failWith(codes.Unavailable),
	"Internal":         failWith(codes.Internal),
	"PermissionDenied": failWith(codes.PermissionDenied),
	"Unimplemented":    failWith(codes.Unimplemented),
	"answer lost": func(_ context.Context, invoke func() ([]byte, error)) ([]byte, error) {
		_, _ = invoke()
		return nil, status.Error(codes.Unavailable, "transport is closing")
	},
	"hang": func(ctx context.Context, _ func() ([]byte, error)) ([]byte, error) {
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	},
}

func failWith(code codes.Code) func(context.Context, func() ([]byte, error)) ([]byte, error) {
	return func(context.Context, func() ([]byte, error)) ([]byte, error) {
		return nil, status.Error(code, "out of order")
	}
}

// situations are pulls in different situations, and the records of containerd afterwards.
var situations = map[string]struct {
	prepare func(n *namingNode)
	pull    func(n *namingNode)
	want    func(n *namingNode) []recorded
}{
	"a tag": {
		prepare: func(n *namingNode) { n.push(stored) },
		pull:    func(n *namingNode) { n.checkedPull(asked) },
		want:    func(n *namingNode) []recorded { return []recorded{{newContent(stored), []string{asked}}} },
	},
	"a digest": {
		prepare: func(n *namingNode) { n.push(stored) },
		pull:    func(n *namingNode) { n.checkedPull("docker.io/library/nginx@" + newContent(stored).digest) },
		want: func(n *namingNode) []recorded {
			return []recorded{{newContent(stored), []string{"docker.io/library/nginx@" + newContent(stored).digest}}}
		},
	},
	"a tag that the registry has moved": {
		prepare: func(n *namingNode) {
			n.push(stored)
			n.mustPull(asked)
			n.pushAs(newContent("moved"), stored)
		},
		pull: func(n *namingNode) { n.checkedPull(asked) },
		want: func(n *namingNode) []recorded {
			return []recorded{{newContent(stored), []string{"docker.io/library/nginx@" + newContent(stored).digest}}, {newContent("moved"), []string{asked}}}
		},
	},
	"an image that was there by the registry's name": {
		prepare: func(n *namingNode) {
			n.push(stored)
			n.direct(stored)
		},
		pull: func(n *namingNode) { n.checkedPull(asked) },
		want: func(n *namingNode) []recorded { return []recorded{{newContent(stored), []string{asked, stored}}} },
	},
	"another image that was there by the registry's name": {
		prepare: func(n *namingNode) {
			n.push(stored)
			n.direct(stored)
			n.pushAs(newContent("moved"), stored)
		},
		pull: func(n *namingNode) { n.checkedPull(asked) },
		want: func(n *namingNode) []recorded {
			return []recorded{{newContent(stored), []string{stored}}, {newContent("moved"), []string{asked}}}
		},
	},
	"another image that was there by the requested name": {
		prepare: func(n *namingNode) {
			n.pushAs(newContent("older"), asked)
			n.direct(asked)
			n.push(stored)
		},
		pull: func(n *namingNode) { n.checkedPull(asked) },
		want: func(n *namingNode) []recorded {
			return []recorded{{newContent("older"), []string{"docker.io/library/nginx@" + newContent("older").digest}}, {newContent(stored), []string{asked}}}
		},
	},
}

// checkedPull pulls, and checks the names that a client sees immediately after: the image has its
// requested name and the ID of the answer, and no new name of the registry.
func (n *namingNode) checkedPull(image string) {
	n.t.Helper()
	before := strings.Join(n.list(), "\n")
	id, err := n.pull(image)
	if err != nil {
		if n.refused = status.Code(err) == codes.Unavailable; !n.refused {
			n.t.Errorf("pull %s: %v", image, err)
		}
		return
	}
	if n.away {
		return
	}
	found := n.status(image)
	if found.GetId() != id || !slices.Contains(slices.Concat(found.GetRepoTags(), found.GetRepoDigests()), image) {
		n.t.Errorf("status after the pull of %s: %s, want ID %.13s", image, names(found), id)
	}
	if after := strings.Join(n.list(), "\n"); strings.Contains(after, hub) && !strings.Contains(before, hub) {
		n.t.Errorf("list after the pull:\n%s", after)
	}
}

// TestNamingFailures makes each call of a naming fail. The client must get the runtime's answer
// to the pull and see the requested name, and the background work must end with the same names as
// without a failure.
func TestNamingFailures(t *testing.T) {
	for name, situation := range situations {
		for how, fail := range failures {
			if !strings.HasPrefix(name, "a ") && slices.Contains([]string{"Internal", "PermissionDenied", "Unimplemented"}, how) {
				continue // the same in each situation
			}
			t.Run(name+"/"+how, func(t *testing.T) {
				t.Parallel()
				each(t, func(t *testing.T, n *namingNode, number int) bool {
					situation.prepare(n)
					failed := ""
					n.set(func(ctx context.Context, at int, call string, invoke func() ([]byte, error)) ([]byte, error) {
						if at == number {
							failed = call
							return fail(ctx, invoke)
						}
						return invoke()
					})
					begun := time.Now()
					situation.pull(n)
					if took := time.Since(begun); took > time.Minute {
						t.Errorf("the pull took %v", took)
					}
					if n.refused { // before anything was pulled
						situation.pull(n)
					}
					n.settled()
					n.wantStored(situation.want(n)...)
					if t.Failed() {
						t.Logf("failed at %q of %q; warnings %q", failed, n.seen(), n.warned())
					}
					return failed != "" && !t.Failed()
				})
			})
		}
	}
}

// TestNamingOutages makes all calls fail for a minute from a certain call on, as if the runtime
// restarted.
func TestNamingOutages(t *testing.T) {
	for name, situation := range situations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, n *namingNode, number int) bool {
				situation.prepare(n)
				n.away = true
				failed := ""
				var mutex sync.Mutex
				var until time.Time
				n.set(func(ctx context.Context, at int, call string, invoke func() ([]byte, error)) ([]byte, error) {
					mutex.Lock()
					defer mutex.Unlock()
					if at == number {
						failed, until = call, time.Now().Add(time.Minute)
					}
					if time.Now().Before(until) {
						return nil, status.Error(codes.Unavailable, "connection refused")
					}
					return invoke()
				})
				situation.pull(n)
				n.settled()
				if n.refused { // before anything was pulled
					time.Sleep(time.Minute)
					situation.pull(n)
					n.settled()
				}
				n.wantStored(situation.want(n)...)
				if t.Failed() {
					t.Logf("failed at %q of %q; warnings %q", failed, n.seen(), n.warned())
				}
				return failed != "" && !t.Failed()
			})
		})
	}
}

// TestNamingCrashes kills the shim after each call of a naming. The next shim must reach the same
// state as without a crash.
func TestNamingCrashes(t *testing.T) {
	for name, situation := range situations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, n *namingNode, number int) bool {
				situation.prepare(n)
				n.restartIn(t.TempDir())
				n.away = true
				call, killed := n.killAfter(number, func() { situation.pull(n) })
				n.away = false
				n.settled()
				if killed {
					situation.pull(n) // the client got no answer
					n.settled()
				}
				n.wantStored(situation.want(n)...)
				if t.Failed() {
					t.Logf("killed after %q; warnings %q", call, n.warned())
				}
				return killed && !t.Failed()
			})
		})
	}
}

// TestNamingCrashAfterAnOwnPull: a client pulls a registry's name by its own name during a pull
// for another name. The name must stay after a crash of the shim.
func TestNamingCrashAfterAnOwnPull(t *testing.T) {
	each(t, func(t *testing.T, n *namingNode, number int) bool {
		n.restartIn(t.TempDir())
		n.push(stored)
		n.away = true
		owned := false
		_, killed := n.killAfter(number, func() {
			n.together(func() { _, _ = n.pull(asked) }, func() {
				time.Sleep(10 * time.Millisecond)
				_, err := n.pull(stored)
				owned = err == nil && !n.killed.Load()
			})
		})
		n.away = false
		n.settled()
		if !owned { // the client got no answer
			n.mustPull(stored)
		}
		n.mustPull(asked)
		n.settled()
		n.wantStored(recorded{newContent(stored), []string{asked, stored}})
		return killed && !t.Failed()
	})
}
