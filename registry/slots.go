package registry

import "context"

const (
	connectionLimit = 4   // to one host
	lookupLimit     = 256 // of one registry, those that wait for a slot included
)

// slots bound the look-ups that run at once on one host to the connections that
// they can have. A look-up that waited for a connection instead would time out, and a busy
// registry would seem to be down.
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
