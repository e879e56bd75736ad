package daemon

import (
	"context"
	"sync/atomic"

	"image-cri-shim/config"
	"image-cri-shim/lookup"
	"image-cri-shim/proxy/intercept"
	"image-cri-shim/registry"
	"image-cri-shim/rewrite"
)

// snapshot is a configuration with its registries and rewriter. It is immutable. A reload
// creates a new snapshot; running calls keep theirs.
type snapshot struct {
	settings   *config.Config
	registries *registry.Set
	rewriter   *rewrite.Rewriter
	rules      intercept.Interceptors
	users      atomic.Int64 // running calls, plus one while it is the current snapshot
}

// newSnapshot returns a snapshot with one user, the caller. The snapshot owns the registries.
func newSnapshot(settings *config.Config, registries *registry.Set, options rewrite.Options) *snapshot {
	options.Lookup, options.Timeout = lookup.New(registries), settings.Timeout
	rewriter := rewrite.New(options)
	s := &snapshot{
		settings:   settings,
		registries: registries,
		rewriter:   rewriter,
		rules: intercept.Interceptors{
			Unary: rewriter.Unary(), Stream: rewriter.Stream(),
			Pass: rewriter.Pass(), Forward: rewriter.Forward(), Opaque: rewriter.Opaque(),
		},
	}
	s.users.Store(1)
	return s
}

// release ends a use of the snapshot. The last release closes the registries.
func (s *snapshot) release() {
	if s.users.Add(-1) == 0 {
		s.registries.Close()
	}
}

// currentSnapshot holds the snapshot for new calls. It is safe for concurrent use.
type currentSnapshot struct{ atomic.Pointer[snapshot] }

// acquire returns the current snapshot, which the caller must release.
func (c *currentSnapshot) acquire() *snapshot {
	for {
		s := c.Load()
		if users := s.users.Load(); users > 0 && s.users.CompareAndSwap(users, users+1) {
			return s
		}
	}
}

// exchange makes next the current snapshot and releases the previous one.
func (c *currentSnapshot) exchange(next *snapshot) { c.Swap(next).release() }

// interceptors returns interceptors that use the snapshot that is current when a call
// starts. The methods are those of first; all snapshots have the same. Unary holds its
// snapshot during the call, because it asks registries. Stream holds it only while it
// prepares the call. The other interceptors ask no registry and hold no snapshot.
func (c *currentSnapshot) interceptors(first *snapshot) intercept.Interceptors {
	unary := make(map[string]intercept.Unary)
	for method := range first.rules.Unary {
		unary[method] = func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
			s := c.acquire()
			defer s.release()
			return s.rules.Unary[method](ctx, request, invoke)
		}
	}
	stream := make(map[string]intercept.Stream)
	for method := range first.rules.Stream {
		stream[method] = func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, intercept.Transform, error) {
			s := c.acquire()
			defer s.release()
			return s.rules.Stream[method](ctx, request, invoke)
		}
	}
	pass := make(map[string]intercept.Pass)
	for method := range first.rules.Pass {
		pass[method] = func(request []byte) (intercept.Restore, bool) { return c.Load().rules.Pass[method](request) }
	}
	forward := make(map[string]intercept.Forward)
	for method := range first.rules.Forward {
		forward[method] = func() (intercept.Forwarding, bool) { return c.Load().rules.Forward[method]() }
	}
	opaque := make(map[string]intercept.Opaque)
	for method := range first.rules.Opaque {
		opaque[method] = func() bool { return c.Load().rules.Opaque[method]() }
	}
	return intercept.Interceptors{Unary: unary, Stream: stream, Pass: pass, Forward: forward, Opaque: opaque}
}
