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
	caching                            bool // answers are remembered
	fallback                           Fallback
	onLookup                           func(LookupEvent)

	lifetime context.Context // of everything that runs in the background
	end      context.CancelFunc
	running  sync.WaitGroup

	mu             sync.Mutex
	closed         bool
	cache          *ttlcache.Cache[referenceKey, cachedAnswer]
	failedPulls    *ttlcache.Cache[referenceKey, struct{}] // whose last pull has failed
	pullBackoffs   *ttlcache.Cache[repositoryKey, *pullBackoff]
	lookupBackoffs *ttlcache.Cache[repositoryKey, *lookupBackoff]
	lookups        map[referenceKey]*lookup // that run or wait for a slot
}

// referenceKey is one reference in a registry.
type referenceKey struct {
	endpoint  *endpoint
	reference string
}

// cachedAnswer is the part of an answer that is remembered.
type cachedAnswer struct {
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
		caching:       options.CacheSize > 0,
		fallback:      options.Fallback,
		onLookup:      options.OnLookup,
		cache: ttlcache.New(
			ttlcache.WithCapacity[referenceKey, cachedAnswer](capacity),
			ttlcache.WithDisableTouchOnHit[referenceKey, cachedAnswer](), // an answer ages however often it is asked for
		),
		failedPulls:    ttlcache.New(ttlcache.WithCapacity[referenceKey, struct{}](capacity), ttlcache.WithDisableTouchOnHit[referenceKey, struct{}]()),
		pullBackoffs:   ttlcache.New(ttlcache.WithCapacity[repositoryKey, *pullBackoff](capacity)),
		lookupBackoffs: ttlcache.New(ttlcache.WithCapacity[repositoryKey, *lookupBackoff](capacity)),
		lookups:        map[referenceKey]*lookup{},
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
	transport, err := s.transports.get(tlsTrust{config.CA, config.InsecureSkipVerify}, options.LookupTimeout)
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

// Close ends all look-ups and probes, waits for them, and closes the connections. Waiting
// and later callers get Unknown. Closing twice is fine.
func (s *Set) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.running.Wait()
	s.transports.closeIdle()
}

// awaitRecovery pings a registry whose circuit is open until it answers, and closes the
// circuit.
func (s *Set) awaitRecovery(e *endpoint) {
	for {
		select {
		case <-s.lifetime.Done():
			return
		case <-time.After(e.breaker.nextDelay()):
		}
		if e.client.ping(s.lifetime) {
			e.breaker.close()
			return
		}
	}
}
