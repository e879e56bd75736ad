package daemon

import (
	"context"
	"sync/atomic"

	"image-cri-shim/config"
	"image-cri-shim/lookup"
	"image-cri-shim/proxy"
	"image-cri-shim/registry"
	"image-cri-shim/rewrite"
)

// snapshot is all that one reading of the file has made. It never changes; a
// reload makes another one, and calls end with the one that they have begun with.
type snapshot struct {
	settings   *config.Config
	registries *registry.Set
	rewriter   *rewrite.Rewriter
	unary      map[string]rewrite.Unary
	stream     map[string]rewrite.Stream
	pass       map[string]rewrite.Pass
	forward    map[string]rewrite.Forward
	opaque     map[string]func() bool
	users      atomic.Int64 // calls, and one while it is the current snapshot; closed at zero
}

func newSnapshot(settings *config.Config, registries *registry.Set, options rewrite.Options) *snapshot {
	options.Lookup, options.Timeout = lookup.New(registries), settings.Timeout
	rewriter := rewrite.New(options)
	g := &snapshot{
		settings:   settings,
		registries: registries,
		rewriter:   rewriter,
		unary:      rewriter.Unary(),
		stream:     rewriter.Stream(),
		pass:       rewriter.Pass(),
		forward:    rewriter.Forward(),
		opaque:     rewriter.Opaque(),
	}
	g.users.Store(1)
	return g
}

// release ends a use; the last one closes the registries.
func (g *snapshot) release() {
	if g.users.Add(-1) == 0 {
		g.registries.Close()
	}
}

// current is the snapshot that new calls begin with.
type currentSnapshot struct{ atomic.Pointer[snapshot] }

// acquire returns the snapshot; its user must release it.
func (c *currentSnapshot) acquire() *snapshot {
	for {
		g := c.Load()
		if users := g.users.Load(); users > 0 && g.users.CompareAndSwap(users, users+1) {
			return g
		}
	}
}

// exchange makes next the current snapshot.
func (c *currentSnapshot) exchange(next *snapshot) { c.Swap(next).release() }

// interceptors gives the rewriters' rules to the proxy, without either knowing the
// other. first names the methods, which are those of all snapshots.
func (c *currentSnapshot) interceptors(first *snapshot) proxy.Interceptors {
	unary := make(map[string]proxy.Unary)
	for method := range first.unary {
		unary[method] = func(ctx context.Context, request []byte, invoke proxy.Invoke) ([]byte, error) {
			g := c.acquire()
			defer g.release()
			return g.unary[method](ctx, request, rewrite.Invoke(invoke))
		}
	}
	stream := make(map[string]proxy.Stream)
	for method := range first.stream {
		// What changes the messages asks no registry.
		stream[method] = func(ctx context.Context, request []byte, invoke proxy.Invoke) ([]byte, proxy.Transform, error) {
			g := c.acquire()
			defer g.release()
			return g.stream[method](ctx, request, rewrite.Invoke(invoke))
		}
	}
	pass := make(map[string]proxy.Pass)
	for method := range first.pass {
		pass[method] = func(request []byte) (proxy.Restore, bool) { // asks no registry either
			restore, ok := c.Load().pass[method](request)
			if restore == nil {
				return nil, ok
			}
			return func(ctx context.Context, response []byte, invoke proxy.Invoke) []byte {
				return restore(ctx, response, rewrite.Invoke(invoke))
			}, ok
		}
	}
	forward := make(map[string]proxy.Forward)
	for method := range first.forward {
		forward[method] = func() (proxy.Forwarding, bool) {
			forwarding, ok := c.Load().forward[method]()
			restore := func(ctx context.Context, request, response []byte, invoke proxy.Invoke) []byte {
				return forwarding.Restore(ctx, request, response, rewrite.Invoke(invoke))
			}
			return proxy.Forwarding{Unchanged: forwarding.Unchanged, Restore: restore}, ok
		}
	}
	opaque := make(map[string]proxy.Opaque)
	for method := range first.opaque {
		opaque[method] = func() bool { return c.Load().opaque[method]() }
	}
	return proxy.Interceptors{Unary: unary, Stream: stream, Pass: pass, Forward: forward, Opaque: opaque}
}
