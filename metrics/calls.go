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
	moreLimit   = 64  // methods beside the announced ones
	nameLimit   = 128 // bytes of a method's full name
	otherMethod = "other"
)

// late is how long after its making a method counts the calls in flight that have begun
// since then: one that has just begun may have been counted as another method's.
const late = time.Second

// Call is a call that has ended.
type Call struct {
	Method   string // full name, "/runtime.v1.RuntimeService/Version"
	Start    time.Time
	Duration time.Duration
	Code     uint32 // gRPC's
	// Bytes of its requests and responses.
	Requests, Responses int64
	Unrestored          bool // the answer was too large for its names to be changed
}

// calls counts calls by their methods.
type calls struct {
	total               *prometheus.CounterVec
	duration            *prometheus.HistogramVec
	inFlight            *prometheus.GaugeVec
	requests, responses *prometheus.CounterVec
	unrestored          prometheus.Counter

	announced map[string]bool // methods
	other     *method
	known     atomic.Pointer[map[string]*method] // never changed, replaced

	mutex sync.Mutex // of what replaces it
	more  int        // known methods that were not announced
}

// method holds the series of one method, so that no call has to look for them.
type method struct {
	calls               *calls
	service, name       string
	since               time.Time // calls that began earlier are in flight as another's
	inFlight            prometheus.Gauge
	duration            prometheus.Observer
	requests, responses prometheus.Counter
	codes               [len(codes) + 1]atomic.Pointer[prometheus.Counter] // the last one is of all other codes
}

// codes are gRPC's, in their order.
var codes = [...]string{
	"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied", "ResourceExhausted",
	"FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated",
}

// callBuckets go from what the shim itself takes to what a pull may take, in seconds.
var callBuckets = []float64{
	20e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900,
}

func newCalls(methods []string, since time.Time) *calls {
	labels := []string{"service", "method"}
	c := &calls{
		total:      prometheus.NewCounterVec(options("calls_total", "Calls of clients that have ended."), append(labels, "code")),
		inFlight:   prometheus.NewGaugeVec(prometheus.GaugeOpts(options("calls_in_flight", "Calls of clients that are running.")), labels),
		requests:   prometheus.NewCounterVec(options("request_bytes_total", "Bytes of the messages that clients have sent."), labels),
		responses:  prometheus.NewCounterVec(options("response_bytes_total", "Bytes of the messages that clients have got."), labels),
		unrestored: prometheus.NewCounter(options("unrestored_answers_total", "Answers that were too large for their image names to be changed.")),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "call_duration_seconds", Help: "How long calls of clients took.", Buckets: callBuckets,
		}, labels),
		announced: map[string]bool{},
	}
	for _, method := range methods {
		c.announced[method] = true
	}
	c.other = c.newMethod("/"+otherMethod+"/"+otherMethod, since)
	c.known.Store(&map[string]*method{})
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

// of returns what a method is counted as. One that is not announced is added where
// there is room.
func (c *calls) of(full string, add bool) *method {
	if m, ok := (*c.known.Load())[full]; ok {
		return m
	}
	announced := c.announced[full]
	if !announced && (!add || len(full) > nameLimit || strings.ToValidUTF8(full, "") != full) {
		return c.other
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	known := *c.known.Load()
	if m, ok := known[full]; ok {
		return m
	}
	since := time.Time{}
	if !announced {
		if c.more == moreLimit {
			return c.other
		}
		c.more++
		since = time.Now().Add(late)
	}
	m := c.newMethod(full, since)
	larger := maps.Clone(known)
	larger[full] = m
	c.known.Store(&larger)
	return m
}

// flight returns what a call that began at start is in flight as, the same at its
// begin and at its end; nil where its begin may not have been told.
func (c *calls) flight(full string, start time.Time) *method {
	if start.Before(c.other.since) {
		return nil
	}
	if m := c.of(full, false); !start.Before(m.since) {
		return m
	}
	return c.other
}

func (c *calls) begin(full string, start time.Time) {
	if m := c.flight(full, start); m != nil {
		m.inFlight.Inc()
	}
}

func (c *calls) end(call Call) {
	flight := c.flight(call.Method, call.Start) // before the method may be added
	m := c.of(call.Method, call.Code == 0)
	m.total(call.Code).Inc()
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

// total returns the method's counter of a code.
func (m *method) total(code uint32) prometheus.Counter {
	index, label := len(codes), "other" // a runtime may answer with any number
	if code < uint32(len(codes)) {
		index, label = int(code), codes[code]
	}
	if counter := m.codes[index].Load(); counter != nil {
		return *counter
	}
	counter := m.calls.total.WithLabelValues(m.service, m.name, label)
	m.codes[index].Store(&counter)
	return counter
}
