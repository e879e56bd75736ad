package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// metricsSocket returns a path for the socket of a shim's metrics.
func metricsSocket(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "metrics-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return filepath.Join(folder, "metrics.sock")
}

// newMetricsNode is newNode with metrics. It waits for them, because they start after calls are served.
func newMetricsNode(t *testing.T, runtime runtime, configuration string) (n *node, httpAddress string) {
	t.Helper()
	httpAddress = metricsSocket(t)
	n = newNode(t, runtime, configuration+"metrics: unix://"+httpAddress+"\n")
	eventually(t, func() string {
		if _, _, err := getPage(httpAddress, "/healthz"); err != nil {
			return err.Error()
		}
		return ""
	})
	return n, httpAddress
}

// mustGetPage requests a page at a host:port or on a socket.
func mustGetPage(t *testing.T, httpAddress, path string) (code int, body string) {
	t.Helper()
	code, body, err := getPage(httpAddress, path)
	if err != nil {
		t.Fatal(err)
	}
	return code, body
}

func getPage(httpAddress, path string) (code int, body string, err error) {
	network, host := "tcp", httpAddress
	if filepath.IsAbs(httpAddress) {
		network, host = "unix", "localhost"
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, httpAddress)
	}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("http://" + host + path)
	if err != nil {
		return 0, "", err
	}
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, string(content), errors.Join(err, response.Body.Close())
}

// metricsScrape is one scrape of a shim's metrics, by name.
type metricsScrape map[string]*dto.MetricFamily

// newScrape requests the metrics like Prometheus. They must be valid and contain no
// secret.
func newScrape(t *testing.T, httpAddress string) metricsScrape {
	t.Helper()
	code, text := mustGetPage(t, httpAddress, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("/metrics: %d %s", code, text)
	}
	wantNoSecret(t, "metrics", []byte(text))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("/metrics: %v", err)
	}
	problems, err := promlint.New(bytes.NewReader([]byte(text))).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("/metrics: %v %v", problems, err)
	}
	return families
}

// value returns the sum of a metric's series that have these labels, given as "name=value".
// For a histogram it is the number of observations.
func (s metricsScrape) value(name string, labels ...string) float64 {
	sum := 0.0
	for _, metric := range s["image_cri_shim_"+name].GetMetric() {
		if !hasLabels(metric, labels) {
			continue
		}
		sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
	}
	return sum
}

func hasLabels(metric *dto.Metric, labels []string) bool {
	found := 0
	for _, pair := range metric.GetLabel() {
		for _, label := range labels {
			if label == pair.GetName()+"="+pair.GetValue() {
				found++
			}
		}
	}
	return found == len(labels)
}

// series returns the number of series of the shim's own metrics.
func (s metricsScrape) series() int {
	count := 0
	for name, family := range s {
		if strings.HasPrefix(name, "image_cri_shim_") {
			count += len(family.GetMetric())
		}
	}
	return count
}

// growth is the expected growth of one metric between two scrapes.
type growth struct {
	by     float64
	name   string
	labels []string
}

func grows(by float64, name string, labels ...string) growth { return growth{by, name, labels} }

// settled returns a scrape in which all calls are counted. A client may see the end of a call
// before the shim has counted it.
func settled(t *testing.T, httpAddress string) (now metricsScrape) {
	t.Helper()
	eventually(t, func() string {
		if now = newScrape(t, httpAddress); now.value("calls_in_flight") != 0 {
			return "calls_in_flight does not become 0"
		}
		return ""
	})
	return now
}

// wantGrowth requires that metrics have grown by exactly the expected values.
func wantGrowth(t *testing.T, httpAddress string, before metricsScrape, want ...growth) metricsScrape {
	t.Helper()
	now := settled(t, httpAddress)
	for _, w := range want {
		if got := now.value(w.name, w.labels...) - before.value(w.name, w.labels...); got != w.by {
			t.Errorf("%s%v grew by %v, want %v", w.name, w.labels, got, w.by)
		}
	}
	return now
}
