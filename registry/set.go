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

// Set holds the registries of a configuration. It must be closed. Methods are safe for
// concurrent use.
type Set struct {
	endpoints  []*endpoint // highest priority first
	transports transports

	lookupTimeout, foundTTL, absentTTL time.Duration
	caching                            bool // answers are cached
	fallback                           Fallback
	onLookup                           func(LookupEvent)

	lifetime context.Context // of all background work
	end      context.CancelFunc
	running  sync.WaitGroup

	mu             sync.Mutex
	closed         bool
	cache          *ttlcache.Cache[referenceKey, cachedAnswer]
	failedPulls    *ttlcache.Cache[referenceKey, struct{}] // references with a recent failed pull
	pullBackoffs   *ttlcache.Cache[repositoryKey, *pullBackoff]
	lookupBackoffs *ttlcache.Cache[repositoryKey, *lookupBackoff]
	lookups        map[referenceKey]*lookup // running and waiting lookups
}

// referenceKey identifies a reference in a registry.
type referenceKey struct {
	endpoint  *endpoint
	reference string
}

// cachedAnswer is the part of an answer that is cached.
type cachedAnswer struct {
	state          State
	digest         string
	asked, expires time.Time
}

// New returns a Set for the registries of options. It reads their CA files and sends no
// request. The error is a [*ConfigError].
func New(options Options) (*Set, error) {
	options = options.withDefaults()
	capacity := uint64(options.CacheSize)
	if options.CacheSize < 0 {
		capacity = defaultCacheSize // failures are recorded even without a cache
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
			ttlcache.WithDisableTouchOnHit[referenceKey, cachedAnswer](), // a cached answer expires even if it is used
		),
		failedPulls:    ttlcache.New(ttlcache.WithCapacity[referenceKey, struct{}](capacity), ttlcache.WithDisableTouchOnHit[referenceKey, struct{}]()),
		pullBackoffs:   ttlcache.New(ttlcache.WithCapacity[repositoryKey, *pullBackoff](capacity)),
		lookupBackoffs: ttlcache.New(ttlcache.WithCapacity[repositoryKey, *lookupBackoff](capacity)),
		lookups:        map[referenceKey]*lookup{},
	}
	for i, config := range options.Registries {
		if err := s.add(config, options); err != nil {
			return nil, &ConfigError{i, config, err}
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
		return &CAError{err}
	}
	e, err := newEndpoint(config, options, transport)
	if err != nil {
		return err
	}
	e.slots = s.slotsOf(e.location)
	s.endpoints = append(s.endpoints, e)
	return nil
}

// slotsOf returns the slots of a host. Registries that differ only in their prefix share
// them.
func (s *Set) slotsOf(l location) slots {
	for _, e := range s.endpoints {
		if e.location.scheme == l.scheme && e.location.canonical() == l.canonical() {
			return e.slots
		}
	}
	return newSlots()
}

// Close cancels all lookups and pings, waits for them, and closes idle connections. Waiting
// and later callers get Unknown. Close may be called more than once.
func (s *Set) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.running.Wait()
	s.transports.closeIdle()
}

// awaitRecovery pings a registry with an open circuit until it answers, and then closes the
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
