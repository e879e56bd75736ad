package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const namespace = "image_cri_shim"

// maxScrapes limits concurrent scrapes.
const maxScrapes = 4

// Options configure [Metrics].
type Options struct {
	Version, Revision string // of the build
	// Methods are the full names of the declared methods. Each has its own series from its
	// first call on.
	Methods []string
	// Since is the time when reporting of calls started, zero if all calls were reported.
	Since time.Time
	// State returns the current state. It is called at each scrape, and must be safe for
	// concurrent use.
	State func() State
}

// Metrics holds the metrics of the shim. Its methods are safe for concurrent use.
type Metrics struct {
	calls     *calls
	decisions *prometheus.CounterVec
	lookups   *lookups
	gatherer  prometheus.Gatherer
	handler   http.Handler
}

// New returns metrics with all counts at zero.
func New(o Options) *Metrics {
	since := o.Since
	if !since.IsZero() {
		since = since.Add(inFlightGrace)
	}
	m := &Metrics{
		calls:     newCalls(o.Methods, since),
		decisions: prometheus.NewCounterVec(counterOpts("image_decisions_total", "Decisions about image names in calls."), []string{"method", "registry", "outcome"}),
		lookups:   newLookups(),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Version of the running build; always 1.",
		ConstLabels: prometheus.Labels{"version": o.Version, "revision": o.Revision, "goversion": runtime.Version()},
	})
	build.Set(1)
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.calls.collectors()...)
	registry.MustRegister(m.lookups.collectors()...)
	registry.MustRegister(m.decisions, build, newStateCollector(o.State),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.gatherer = registry
	m.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes, EnableOpenMetrics: true,
	})
	return m
}

// Handler serves the metrics. It answers 503 if more than maxScrapes scrapes are running.
func (m *Metrics) Handler() http.Handler { return m.handler }

// Begin records the start of a call.
func (m *Metrics) Begin(method string, start time.Time) { m.calls.begin(method, start) }

// End records a finished call, even if its start was not reported.
func (m *Metrics) End(call Call) { m.calls.end(call) }

// ObserveDecision records a decision about an image name. registry is the configured
// registry that serves the image, empty if none does.
func (m *Metrics) ObserveDecision(method, registry, outcome string) {
	m.decisions.WithLabelValues(method, registry, outcome).Inc()
}

// InitDecision creates the series of a decision with the value 0.
func (m *Metrics) InitDecision(method, registry, outcome string) {
	m.decisions.WithLabelValues(method, registry, outcome)
}

// counterOpts returns the options of a counter or a gauge.
func counterOpts(name, help string) prometheus.CounterOpts {
	return prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}
}
