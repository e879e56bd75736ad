package metrics

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	maxUndeclared  = 64  // methods that are not declared, at most
	maxMethodBytes = 128 // bytes of a method's full name
	otherMethod    = "other"
)

// inFlightGrace is how long the gauge of "other" still counts the calls of a method that was
// just added. That gauge may already have counted a call that started at that moment, and
// must then count its end too. New adds the same delay to Options.Since, because begin may not
// have been called for a call that started at that moment.
const inFlightGrace = time.Second

// Call is a finished call.
type Call struct {
	Method   string // full name, "/runtime.v1.RuntimeService/Version"
	Start    time.Time
	Duration time.Duration
	Code     uint32 // gRPC status code
	// Bytes of requests and responses.
	Requests, Responses int64
	Unrestored          bool // the response was too large for its image names to be restored
}

// calls counts calls by method.
type calls struct {
	total               *prometheus.CounterVec
	duration            *prometheus.HistogramVec
	inFlight            *prometheus.GaugeVec
	requests, responses *prometheus.CounterVec
	unrestored          prometheus.Counter

	declared map[string]bool // by full method name
	other    *method
	methods  atomic.Pointer[map[string]*method] // replaced, never modified

	mutex      sync.Mutex // serializes replacing methods
	undeclared int        // methods that are not declared; guarded by mutex
}

// method caches the series of one method, so that counting a call needs no lookup by labels.
type method struct {
	calls               *calls
	service, name       string
	since               time.Time // the gauge of "other" counts calls that started earlier
	inFlight            prometheus.Gauge
	duration            prometheus.Observer
	requests, responses prometheus.Counter
	totals              [len(codes) + 1]atomic.Pointer[prometheus.Counter] // by code; the last element counts unknown codes
}

// codes are the names of the gRPC status codes, by number.
var codes = [...]string{
	"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied", "ResourceExhausted",
	"FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated",
}

// callBuckets range from the latency of the shim itself to the duration of a long pull, in
// seconds.
var callBuckets = []float64{
	20e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900,
}

func newCalls(methods []string, since time.Time) *calls {
	labels := []string{"service", "method"}
	c := &calls{
		total:      prometheus.NewCounterVec(counterOpts("calls_total", "Finished calls of clients."), append(labels, "code")),
		inFlight:   prometheus.NewGaugeVec(prometheus.GaugeOpts(counterOpts("calls_in_flight", "Running calls of clients.")), labels),
		requests:   prometheus.NewCounterVec(counterOpts("request_bytes_total", "Bytes of the messages received from clients."), labels),
		responses:  prometheus.NewCounterVec(counterOpts("response_bytes_total", "Bytes of the messages sent to clients."), labels),
		unrestored: prometheus.NewCounter(counterOpts("unrestored_answers_total", "Responses that were too large for their image names to be restored.")),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "call_duration_seconds", Help: "Duration of calls of clients, in seconds.", Buckets: callBuckets,
		}, labels),
		declared: map[string]bool{},
	}
	for _, method := range methods {
		c.declared[method] = true
	}
	c.other = c.newMethod("/"+otherMethod+"/"+otherMethod, since)
	c.methods.Store(&map[string]*method{})
	return c
}

func (c *calls) collectors() []prometheus.Collector {
	return []prometheus.Collector{c.total, c.inFlight, c.requests, c.responses, c.unrestored, c.duration}
}

func (c *calls) newMethod(full string, since time.Time) *method {
	service, name, _ := strings.Cut(strings.TrimPrefix(full, "/"), "/")
	return &method{
		calls: c, service: service, name: name, since: since,
		inFlight:  c.inFlight.WithLabelValues(service, name),
		duration:  c.duration.WithLabelValues(service, name),
		requests:  c.requests.WithLabelValues(service, name),
		responses: c.responses.WithLabelValues(service, name),
	}
}

// methodOf returns the series of a method, or those of "other". If add is set, it adds a
// method that is not declared, up to maxUndeclared methods.
func (c *calls) methodOf(full string, add bool) *method {
	if m, ok := (*c.methods.Load())[full]; ok {
		return m
	}
	declared := c.declared[full]
	if !declared && (!add || len(full) > maxMethodBytes || strings.ToValidUTF8(full, "") != full) {
		return c.other
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	known := *c.methods.Load()
	if m, ok := known[full]; ok {
		return m
	}
	since := time.Time{}
	if !declared {
		if c.undeclared == maxUndeclared {
			return c.other
		}
		c.undeclared++
		since = time.Now().Add(inFlightGrace)
	}
	m := c.newMethod(full, since)
	larger := maps.Clone(known)
	larger[full] = m
	c.methods.Store(&larger)
	return m
}

// inFlightMethod returns the method whose gauge counts a call that began at start, or nil if
// begin may not have been called for it. The result is the same at the call's start and end.
func (c *calls) inFlightMethod(full string, start time.Time) *method {
	if start.Before(c.other.since) {
		return nil
	}
	if m := c.methodOf(full, false); !start.Before(m.since) {
		return m
	}
	return c.other
}

func (c *calls) begin(full string, start time.Time) {
	if m := c.inFlightMethod(full, start); m != nil {
		m.inFlight.Inc()
	}
}

func (c *calls) end(call Call) {
	flight := c.inFlightMethod(call.Method, call.Start) // before methodOf adds the method
	m := c.methodOf(call.Method, call.Code == 0)
	m.totalOf(call.Code).Inc()
	m.duration.Observe(call.Duration.Seconds())
	m.requests.Add(float64(call.Requests))
	m.responses.Add(float64(call.Responses))
	if call.Unrestored {
		c.unrestored.Inc()
	}
	if flight != nil {
		flight.inFlight.Dec()
	}
}

// totalOf returns the method's counter for a code.
func (m *method) totalOf(code uint32) prometheus.Counter {
	index, label := len(codes), "other" // a runtime can return any number
	if code < uint32(len(codes)) {
		index, label = int(code), codes[code]
	}
	if counter := m.totals[index].Load(); counter != nil {
		return *counter
	}
	counter := m.calls.total.WithLabelValues(m.service, m.name, label)
	m.totals[index].Store(&counter)
	return counter
}
