package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

const (
	version = "/runtime.v1.RuntimeService/Version"
	pull    = "/runtime.v1.ImageService/PullImage"
)

func newMetrics() *Metrics {
	return New(Options{Methods: []string{version, pull}, State: func() State { return State{} }})
}

// observeCall reports a finished call of a method.
func (m *Metrics) observeCall(method string, code uint32) {
	start := time.Now()
	m.Begin(method, start)
	m.End(Call{Method: method, Start: start, Duration: time.Millisecond, Code: code, Requests: 5, Responses: 50})
}

func TestCalls(t *testing.T) {
	m := newMetrics()
	m.Begin(version, time.Now())
	m.Begin(version, time.Now())
	start := time.Now()
	m.Begin(pull, start)
	m.End(Call{Method: pull, Start: start, Duration: 3 * time.Second, Code: 0, Requests: 105, Responses: 55})
	m.observeCall(pull, 5)
	m.observeCall(pull, 4711)
	m.End(Call{Method: version, Start: start, Unrestored: true})
	want := `
# HELP image_cri_shim_calls_in_flight Running calls of clients.
# TYPE image_cri_shim_calls_in_flight gauge
image_cri_shim_calls_in_flight{method="PullImage",service="runtime.v1.ImageService"} 0
image_cri_shim_calls_in_flight{method="Version",service="runtime.v1.RuntimeService"} 1
image_cri_shim_calls_in_flight{method="other",service="other"} 0
# HELP image_cri_shim_calls_total Finished calls of clients.
# TYPE image_cri_shim_calls_total counter
image_cri_shim_calls_total{code="NotFound",method="PullImage",service="runtime.v1.ImageService"} 1
image_cri_shim_calls_total{code="OK",method="PullImage",service="runtime.v1.ImageService"} 1
image_cri_shim_calls_total{code="other",method="PullImage",service="runtime.v1.ImageService"} 1
image_cri_shim_calls_total{code="OK",method="Version",service="runtime.v1.RuntimeService"} 1
# HELP image_cri_shim_request_bytes_total Bytes of the messages received from clients.
# TYPE image_cri_shim_request_bytes_total counter
image_cri_shim_request_bytes_total{method="PullImage",service="runtime.v1.ImageService"} 115
image_cri_shim_request_bytes_total{method="Version",service="runtime.v1.RuntimeService"} 0
image_cri_shim_request_bytes_total{method="other",service="other"} 0
# HELP image_cri_shim_response_bytes_total Bytes of the messages sent to clients.
# TYPE image_cri_shim_response_bytes_total counter
image_cri_shim_response_bytes_total{method="PullImage",service="runtime.v1.ImageService"} 155
image_cri_shim_response_bytes_total{method="Version",service="runtime.v1.RuntimeService"} 0
image_cri_shim_response_bytes_total{method="other",service="other"} 0
# HELP image_cri_shim_unrestored_answers_total Responses that were too large for their image names to be restored.
# TYPE image_cri_shim_unrestored_answers_total counter
image_cri_shim_unrestored_answers_total 1
`
	if err := testutil.GatherAndCompare(m.gatherer, strings.NewReader(want), "image_cri_shim_calls_in_flight",
		"image_cri_shim_calls_total", "image_cri_shim_request_bytes_total", "image_cri_shim_response_bytes_total", "image_cri_shim_unrestored_answers_total"); err != nil {
		t.Error(err)
	}
}

// TestMethodsAreBounded calls invented methods. Methods unknown to the runtime share one
// series, and only maxUndeclared known ones have their own.
func TestMethodsAreBounded(t *testing.T) {
	m := newMetrics()
	before := series(t, m)
	var running sync.WaitGroup
	for i := range 4 {
		running.Go(func() {
			for j := range 5000 {
				m.observeCall(fmt.Sprintf("/invented.Service/Method%d-%d", i, j), uint32(12+j%3))
			}
		})
	}
	running.Wait()
	if got := series(t, m); got != before+3 { // one for each code
		t.Errorf("%d series after 20000 invented methods, and %d before", got, before)
	}
	for i := range 5000 {
		m.observeCall(fmt.Sprintf("/real.Service/Method%d", i), 0)
	}
	m.observeCall("/real.Service/"+strings.Repeat("x", maxMethodBytes), 0)
	m.observeCall("/real.Service/\xff", 0)
	if got := testutil.CollectAndCount(m.calls.requests); got != maxUndeclared+1 {
		t.Errorf("%d methods, want %d and other", got, maxUndeclared)
	}
	m.observeCall(version, 0)
	if got := testutil.ToFloat64(m.calls.total.WithLabelValues("runtime.v1.RuntimeService", "Version", "OK")); got != 1 {
		t.Errorf("%v calls of the declared method, want 1", got)
	}
	if got := testutil.ToFloat64(m.calls.total.WithLabelValues("other", "other", "OK")); got != 5000-maxUndeclared+2 {
		t.Errorf("%v other calls with OK", got)
	}
}

// TestScrapesAreBounded sends more concurrent scrapes than permitted.
func TestScrapesAreBounded(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	m := New(Options{State: func() State {
		asked <- struct{}{}
		<-release
		return State{}
	}})
	var running sync.WaitGroup
	ask := func() int {
		recorder := httptest.NewRecorder()
		m.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return recorder.Code
	}
	for range maxScrapes {
		running.Go(func() {
			if code := ask(); code != http.StatusOK {
				t.Errorf("answered %d", code)
			}
		})
		<-asked
	}
	refused := make(chan int, 1)
	running.Go(func() { refused <- ask() })
	select {
	case code := <-refused:
		if code != http.StatusServiceUnavailable {
			t.Errorf("the scrape beyond the limit was answered with %d", code)
		}
	case <-asked:
		t.Error("the scrape beyond the limit was accepted")
	}
	close(release)
	running.Wait()
}

// series returns the number of series of a scrape, without those of Go.
func series(t *testing.T, m *Metrics) int {
	t.Helper()
	families, err := m.gatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), namespace) {
			count += len(family.GetMetric())
		}
	}
	return count
}

// TestInFlight has calls that start before counting does, and calls that run while their
// method is added.
func TestInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{Methods: []string{version}, State: func() State { return State{} }, Since: time.Now()})
		begin := func(method string) (end func()) {
			start := time.Now()
			m.Begin(method, start)
			return func() { m.End(Call{Method: method, Start: start}) }
		}
		check := func(found, version, other int) {
			t.Helper()
			for labels, want := range map[[2]string]int{{"real.Service", "Found"}: found, {"runtime.v1.RuntimeService", "Version"}: version, {"other", "other"}: other} {
				if got := testutil.ToFloat64(m.calls.inFlight.WithLabelValues(labels[0], labels[1])); got != float64(want) {
					t.Errorf("%s: %v in flight, want %d", labels[1], got, want)
				}
			}
		}
		const found = "/real.Service/Found"
		m.End(Call{Method: version, Start: time.Now().Add(-time.Minute)})
		early := begin(version) // its start may not have been reported
		check(0, 0, 0)
		time.Sleep(2 * inFlightGrace)
		first, second, known := begin(found), begin(found), begin(version)
		check(0, 1, 2)
		first() // adds the method
		third := begin(found)
		check(0, 1, 2)
		time.Sleep(2 * inFlightGrace)
		fourth := begin(found)
		check(1, 1, 2)
		for _, end := range []func(){early, second, known, third, fourth} {
			end()
		}
		check(0, 0, 0)
	})
}

func BenchmarkCall(b *testing.B) {
	m := newMetrics()
	b.ReportAllocs()
	start := time.Now()
	for b.Loop() {
		m.Begin(version, start)
		m.End(Call{Method: version, Start: start, Duration: 150 * time.Microsecond, Requests: 5, Responses: 50})
	}
}

func BenchmarkCallsAtOnce(b *testing.B) {
	m := newMetrics()
	b.ReportAllocs()
	start := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Begin(version, start)
			m.End(Call{Method: version, Start: start, Duration: 150 * time.Microsecond, Requests: 5, Responses: 50})
		}
	})
}

func BenchmarkInventedCall(b *testing.B) {
	m := newMetrics()
	b.ReportAllocs()
	start := time.Now()
	for b.Loop() {
		m.Begin("/invented.Service/Method", start)
		m.End(Call{Method: "/invented.Service/Method", Start: start, Duration: 150 * time.Microsecond, Code: 12})
	}
}
