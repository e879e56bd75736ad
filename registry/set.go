package registry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jellydator/ttlcache/v3"
)

// Set is the registries of a configuration. It must be closed. Its methods may
// be called concurrently.
type Set struct {
	endpoints  []*endpoint // best priority first
	transports transports

	lookupTimeout, foundTTL, absentTTL time.Duration
	cached                             bool // answers are remembered
	fallback                           Fallback
	onLookup                           func(Lookup)

	lifetime context.Context // of everything that runs in the background
	end      context.CancelFunc
	running  sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	known   *ttlcache.Cache[key, finding]
	failed  *ttlcache.Cache[key, struct{}] // whose last pull has
	stalls  *ttlcache.Cache[place, *stall] // how pulls have ended
	pauses  *ttlcache.Cache[place, *pause] // of repositories that are not asked for a while
	lookups map[key]*lookup                // that run or wait for a slot
}

// key names what one registry is asked for.
type key struct {
	endpoint  *endpoint
	reference string
}

// finding is an answer to remember.
type finding struct {
	state  State
	digest string
}

// New prepares look-ups in the registries and asks none of them. It reads their
// CA files. Its error names the registry that is configured wrongly.
func New(options Options) (*Set, error) {
	options = options.withDefaults()
	capacity := uint64(options.CacheSize)
	if options.CacheSize < 0 {
		capacity = defaultCacheSize // the memory of failures stays on
	}
	s := &Set{
		transports:    transports{},
		lookupTimeout: options.LookupTimeout,
		foundTTL:      options.FoundTTL,
		absentTTL:     options.AbsentTTL,
		cached:        options.CacheSize > 0,
		fallback:      options.Fallback,
		onLookup:      options.OnLookup,
		known: ttlcache.New(
			ttlcache.WithCapacity[key, finding](capacity),
			ttlcache.WithDisableTouchOnHit[key, finding](), // an answer ages however often it is asked for
		),
		failed:  ttlcache.New(ttlcache.WithCapacity[key, struct{}](capacity), ttlcache.WithDisableTouchOnHit[key, struct{}]()),
		stalls:  ttlcache.New(ttlcache.WithCapacity[place, *stall](capacity)),
		pauses:  ttlcache.New(ttlcache.WithCapacity[place, *pause](capacity)),
		lookups: map[key]*lookup{},
	}
	for i, config := range options.Registries {
		if err := s.add(config, options); err != nil {
			return nil, fmt.Errorf("registry %d, %v: %w", i+1, config, err)
		}
	}
	slices.SortStableFunc(s.endpoints, func(a, b *endpoint) int { return cmp.Compare(b.priority, a.priority) })
	s.lifetime, s.end = context.WithCancel(context.Background())
	return s, nil
}

// Format prints the addresses of the registries.
func (s *Set) Format(state fmt.State, _ rune) {
	addresses := make([]string, len(s.endpoints))
	for i, e := range s.endpoints {
		addresses[i] = e.location.String()
	}
	_, _ = fmt.Fprint(state, addresses)
}

func (s *Set) add(config Config, options Options) error {
	transport, err := s.transports.get(trust{config.CA, config.InsecureSkipVerify}, options.LookupTimeout)
	if err != nil {
		return err
	}
	e, err := newEndpoint(config, options, transport)
	if err != nil {
		return err
	}
	e.slots = s.slotsOf(e.location)
	s.endpoints = append(s.endpoints, e)
	return nil
}

// slotsOf returns the slots of a host. Registries that differ only in their
// prefix share its connections.
func (s *Set) slotsOf(l location) slots {
	for _, e := range s.endpoints {
		if e.location.scheme == l.scheme && e.location.canonical() == l.canonical() {
			return e.slots
		}
	}
	return newSlots()
}

// Close ends all look-ups and probes, waits for them, and closes the
// connections. Whoever still waits for an answer, or asks later, is told
// Unknown. Closing twice is fine.
func (s *Set) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.running.Wait()
	s.transports.closeIdle()
}

// probe waits until a registry whose circuit is open answers again.
func (s *Set) probe(e *endpoint) {
	for {
		select {
		case <-s.lifetime.Done():
			return
		case <-time.After(e.breaker.nextPause()):
		}
		if e.client.answers(s.lifetime) {
			e.breaker.close()
			return
		}
	}
}
