package metrics

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/sirupsen/logrus"

	"image-cri-shim/agent/status"
	shim "image-cri-shim/metrics"
)

// serveShim serves a handler as the shim does, and returns the address in the form of the
// configuration.
func serveShim(t *testing.T, network string, handler http.Handler) string {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "metrics.sock")
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler, ReadHeaderTimeout: time.Second}}
	server.Start()
	t.Cleanup(server.Close)
	return listener.Addr().String()
}

// agentHandler returns the handler of a node that is ready, and its log.
func agentHandler(shim string) (http.Handler, *bytes.Buffer) {
	var text bytes.Buffer
	log := logrus.New()
	log.SetOutput(&text)
	return Handler(Options{
		Version: "v2", Log: log, Shim: func() string { return shim },
		Status: func() (status.Status, error) { return readyStatus(time.Now()), nil },
	}), &text
}

// scrapeAgent requests the metrics over HTTP, and parses them as Prometheus does.
func scrapeAgent(t *testing.T, handler http.Handler) map[string]*dto.MetricFamily {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	response, err := server.Client().Get(server.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("status %s, %v: %s", response.Status, err, text)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("the response is invalid: %v", err)
	}
	return families
}

// wantScraped requires the agent's own metrics, and the value of shim_scraped.
func wantScraped(t *testing.T, families map[string]*dto.MetricFamily, want float64) {
	t.Helper()
	for _, name := range []string{"_build_info", "_state", "_applied_info", "_shim_scraped"} {
		if families[prefix+name] == nil {
			t.Fatalf("the response lacks %s", prefix+name)
		}
	}
	if got := families[prefix+"_shim_scraped"].Metric[0].Gauge.GetValue(); got != want {
		t.Errorf("shim_scraped is %v, want %v", got, want)
	}
	if s := families[prefix+"_state"].Metric; len(s) != len(status.States) {
		t.Errorf("the state is %v", s)
	}
}

// TestScrape requires that a response has the metrics of the agent and of the shim, for both
// kinds of addresses.
func TestScrape(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			m := shim.New(shim.Options{Version: "v2", State: func() shim.State { return shim.State{RuntimeUp: true} }})
			m.End(shim.Call{Method: "/runtime.v1.ImageService/PullImage", Start: time.Now()})
			handler, log := agentHandler(serveShim(t, network, m.Handler()))
			families := scrapeAgent(t, handler)
			wantScraped(t, families, 1)
			for _, name := range []string{"image_cri_shim_build_info", "image_cri_shim_calls_total", "image_cri_shim_call_duration_seconds", "image_cri_shim_runtime_up", "go_goroutines", "process_open_fds"} {
				if f := families[name]; f == nil || len(f.Metric) == 0 {
					t.Errorf("the response lacks %s", name)
				}
			}
			if f := families["image_cri_shim_call_duration_seconds"]; f != nil && len(f.Metric[0].Histogram.Bucket) < 5 {
				t.Errorf("the histogram has lost its buckets: %v", f)
			}
			if log.Len() > 0 {
				t.Errorf("logged %s", log)
			}
		})
	}
}

// TestBrokenShim requires that an answer of the shim that is missing, too large or invalid leaves
// the agent's own metrics, and that the log has its reason once.
func TestBrokenShim(t *testing.T) {
	text := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	const good = "# TYPE good gauge\ngood 1\n"
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		log    string
	}{
		"empty":            {text(""), "no metrics"},
		"page":             {text("<html>\n"), "invalid"},
		"truncated":        {text(good + `good2{a="b`), "invalid"},
		"second type":      {text("# TYPE a counter\na 1\n# TYPE a gauge\na 2\n"), "invalid"},
		"series twice":     {text(good + "good 2\n"), "invalid"},
		"label twice":      {text(good + `a{b="1",b="2"} 1` + "\n"), "invalid"},
		"invalid UTF-8":    {text(good + "a{b=\"\xff\"} 1\n"), "invalid"},
		"UTF-8 of help":    {text("# HELP good \xff\n" + good), "invalid"},
		"name of UTF-8":    {text(good + `{"a.b"} 1` + "\n"), "invalid"},
		"suffix collision": {text("# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n# TYPE a_count counter\na_count 1\n"), "invalid"},
		"too large":        {text(good + "# " + strings.Repeat("a", maxAnswer)), "more than 8388608 bytes"},
		"too many lines":   {text(good + strings.Repeat("\n", maxLines)), "more than 100000 lines"},
		"error":            {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, good, http.StatusNotFound) }, "status 404"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, "status 302"},
		"large header": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("A", strings.Repeat("a", 1<<20)) }, "header"},
		"compressed": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, good)
			_ = z.Close()
		}, "invalid"},
		"closed": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			handler, log := agentHandler(serveShim(t, "unix", c.answer))
			for range 2 {
				families := scrapeAgent(t, handler)
				wantScraped(t, families, 0)
				if families["good"] != nil || families["a"] != nil {
					t.Error("the response has a part of a broken answer")
				}
			}
			if strings.Count(log.String(), "level=") != 1 || !strings.Contains(log.String(), c.log) {
				t.Errorf("logged %s, want %q once", log, c.log)
			}
		})
	}
	for name, address := range map[string]string{
		"no address": "", "no listener": "127.0.0.1:1", "no socket": filepath.Join(t.TempDir(), "a.sock"),
	} {
		t.Run(name, func(t *testing.T) {
			handler, log := agentHandler(address)
			wantScraped(t, scrapeAgent(t, handler), 0)
			if strings.Count(log.String(), "level=warning") != 1 {
				t.Errorf("logged %s, want one warning", log)
			}
		})
	}
}

// TestNamesDoNotCollide requires that the shim can't replace a metric of the agent.
func TestNamesDoNotCollide(t *testing.T) {
	answer := "# TYPE good gauge\ngood 1\n# TYPE image_cri_shim_agent_state gauge\nimage_cri_shim_agent_state{state=\"ready\"} 0\n" +
		"image_cri_shim_agent_build_info{version=\"v2\"} 1\n# TYPE image_cri_shim_agent_new counter\nimage_cri_shim_agent_new 1\n"
	handler, log := agentHandler(serveShim(t, "unix", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })))
	families := scrapeAgent(t, handler)
	wantScraped(t, families, 1)
	if families["good"] == nil || families[prefix+"_new"] != nil || log.Len() > 0 {
		t.Errorf("found %v, logged %s", families, log)
	}
	for _, m := range families[prefix+"_state"].Metric {
		if ready := m.Label[0].GetValue() == "ready"; ready && m.Gauge.GetValue() != 1 {
			t.Error("the shim has changed the agent's state")
		}
	}
}

// TestSlowShim requires that a shim that does not answer delays responses for a limited time, also
// those to several servers of Prometheus at once.
func TestSlowShim(t *testing.T) {
	answer := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	handler, log := agentHandler(serveShim(t, "unix", answer))
	start := time.Now()
	var scrapes sync.WaitGroup
	for range 4 {
		scrapes.Go(func() { wantScraped(t, scrapeAgent(t, handler), 0) })
	}
	scrapes.Wait()
	if took := time.Since(start); took < shimTimeout || took > shimTimeout+3*time.Second || !strings.Contains(log.String(), "deadline exceeded") {
		t.Errorf("the response took %s, logged %s", took, log)
	}
}

// TestConcurrentScrapes requires that several scrapes at a time all get a complete response.
func TestConcurrentScrapes(t *testing.T) {
	m := shim.New(shim.Options{State: func() shim.State { return shim.State{} }})
	handler, _ := agentHandler(serveShim(t, "unix", m.Handler()))
	var scrapes sync.WaitGroup
	for range 8 {
		scrapes.Go(func() {
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
			if !strings.Contains(recorder.Body.String(), "image_cri_shim_agent_shim_scraped 1\n") {
				t.Error(recorder.Body)
			}
		})
	}
	scrapes.Wait()
}

// TestLargeAnswer requires that the largest answer of a shim is passed on.
func TestLargeAnswer(t *testing.T) {
	var answer strings.Builder
	answer.WriteString("# TYPE a gauge\n")
	for i := 0; answer.Len() < maxAnswer-200; i++ {
		fmt.Fprintf(&answer, "a{number=\"%d\",b=\"%s\"} 1\n", i, strings.Repeat("c", 80))
	}
	handler, _ := agentHandler(serveShim(t, "unix", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer.String()) })))
	if families := scrapeAgent(t, handler); len(families["a"].GetMetric()) < 75_000 {
		t.Errorf("found %d series", len(families["a"].GetMetric()))
	}
}
