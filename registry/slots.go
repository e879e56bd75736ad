package registry

import "context"

const (
	connectionLimit = 4   // to one host
	lookupLimit     = 256 // running and waiting lookups of one registry
)

// slots limits the concurrent lookups on one host to the number of connections. A lookup
// that waited for a connection would time out instead, and a busy registry would appear to
// be down.
type slots chan struct{}

func newSlots() slots { return make(slots, connectionLimit) }

// acquire waits for a slot. Its error is that of ctx.
func (s slots) acquire(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s slots) release() { <-s }
