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

// scrapeLimit is how many may ask at once.
const scrapeLimit = 4

// Options says what is counted.
type Options struct {
	Version, Revision string // of the build
	// Methods are those that are announced, by their full name: they have series of their
	// own from their first call on.
	Methods []string
	// Since is when calls begin to be told of; zero where it is all of them.
	Since time.Time
	// State tells how things stand. It is called at each scrape, by several at once.
	State func() State
}

// Metrics counts. Its methods are safe for concurrent use.
type Metrics struct {
	calls     *calls
	decisions *prometheus.CounterVec
	lookups   *lookups
	gatherer  prometheus.Gatherer
	handler   http.Handler
}

// New begins to count.
func New(o Options) *Metrics {
	since := o.Since
	if !since.IsZero() {
		since = since.Add(late)
	}
	m := &Metrics{
		calls:     newCalls(o.Methods, since),
		decisions: prometheus.NewCounterVec(options("image_decisions_total", "Decisions about an image's name in a call."), []string{"method", "registry", "outcome"}),
		lookups:   newLookups(),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "The build that runs; always 1.",
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
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: scrapeLimit, EnableOpenMetrics: true,
	})
	return m
}

// Handler answers Prometheus, and 503 where too many ask at once.
func (m *Metrics) Handler() http.Handler { return m.handler }

// Begin is told of a call that begins.
func (m *Metrics) Begin(method string, start time.Time) { m.calls.begin(method, start) }

// End is told of a call when it has ended. Of what began before there were metrics, and
// was never told, only the end counts.
func (m *Metrics) End(call Call) { m.calls.end(call) }

// Decided is told what became of an image's name in a call of a method, and which
// configured registry serves it, if one does.
func (m *Metrics) Decided(method, registry, outcome string) {
	m.decisions.WithLabelValues(method, registry, outcome).Inc()
}

// ExpectDecision is to [Metrics.Decided] what [Metrics.Expect] is to [Metrics.LookedUp].
func (m *Metrics) ExpectDecision(method, registry, outcome string) {
	m.decisions.WithLabelValues(method, registry, outcome)
}

// options are those of a counter or a gauge.
func options(name, help string) prometheus.CounterOpts {
	return prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}
}
