package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Lookup is a finished lookup in a registry.
type Lookup struct {
	Registry string // address
	Result   string // "found", "absent", or the reason of a failure
	Cached   bool   // answered from the cache
	Duration time.Duration
}

// lookups counts lookups.
type lookups struct {
	total        *prometheus.CounterVec
	duration     *prometheus.HistogramVec
	hits, misses *prometheus.CounterVec
}

func newLookups() *lookups {
	labels := []string{"registry"}
	return &lookups{
		total:  prometheus.NewCounterVec(counterOpts("lookups_total", "Lookups of images in a registry that were not answered by the cache."), append(labels, "result")),
		hits:   prometheus.NewCounterVec(counterOpts("cache_hits_total", "Lookups of images in a registry that were answered by the cache."), labels),
		misses: prometheus.NewCounterVec(counterOpts("cache_misses_total", "Lookups of images that were sent to the registry."), labels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "lookup_duration_seconds", Help: "Duration of lookups that were sent to the registry, in seconds.",
			Buckets: []float64{1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, labels),
	}
}

func (l *lookups) collectors() []prometheus.Collector {
	return []prometheus.Collector{l.total, l.duration, l.hits, l.misses}
}

// InitLookups creates a registry's series with the value 0, so that the first lookup is
// visible as an increase.
func (m *Metrics) InitLookups(registry string, results []string) {
	l := m.lookups
	for _, result := range results {
		l.total.WithLabelValues(registry, result)
	}
	l.hits.WithLabelValues(registry)
	l.misses.WithLabelValues(registry)
	l.duration.WithLabelValues(registry)
}

// ObserveLookup records a finished lookup.
func (m *Metrics) ObserveLookup(lookup Lookup) {
	l := m.lookups
	if lookup.Cached {
		l.hits.WithLabelValues(lookup.Registry).Inc()
		return
	}
	l.total.WithLabelValues(lookup.Registry, lookup.Result).Inc()
	if lookup.Duration > 0 { // a request was sent to the registry
		l.misses.WithLabelValues(lookup.Registry).Inc()
		l.duration.WithLabelValues(lookup.Registry).Observe(lookup.Duration.Seconds())
	}
}
