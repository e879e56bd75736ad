package e2e

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

const (
	alertRules     = "../packaging/prometheus/image-cri-shim.rules.yaml"
	fleetRules     = "../packaging/prometheus/image-cri-shim-fleet.rules.yaml"
	dashboard      = "../packaging/grafana/image-cri-shim.json"
	fleetDashboard = "../packaging/grafana/image-cri-shim-fleet.json"
	metricDocs     = "../docs/metrics.md"

	agentMetrics = "image_cri_shim_agent_" // the prefix of the agent's own metrics
)

func readFile(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// submatches returns the distinct first groups of a pattern's matches in a text, in order.
func submatches(pattern, text string) []string {
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// TestShownMetrics compares the metrics of a shim with the documentation, and with the
// metrics that the alerts and the dashboard use.
func TestShownMetrics(t *testing.T) {
	n, httpAddress := newMetricsNode(t, shared.embedded, privateConfiguration())
	n.pull(t, n.through, "nginx:1.25", nil)
	exposed := settled(t, httpAddress)

	documented, real := map[string]string{}, map[string]string{}
	for name, row := range documentedMetrics(t) {
		if !strings.HasPrefix(name, agentMetrics) {
			documented[name] = row.text()
		}
	}
	for name, family := range exposed {
		if strings.HasPrefix(name, "image_cri_shim_") {
			real[name] = metricRow{strings.ToLower(family.GetType().String()), labels(family)}.text()
		}
	}
	if !maps.Equal(documented, real) {
		t.Errorf("%s lists\n%q, but exposed are\n%q", metricDocs, documented, real)
	}

	known := map[string][]string{}
	for name, family := range exposed {
		known[name] = labels(family)
	}
	asked := wantKnown(t, known, dashboard, alertRules)
	for name := range real {
		if !asked[name] {
			t.Errorf("neither the dashboard nor an alert shows %s", name)
		}
	}
}

// TestFleetMetrics requires that the dashboard and the alerts of a fleet use only documented
// metrics, and each one of the agent. The tests on a cluster compare them with a real agent.
func TestFleetMetrics(t *testing.T) {
	known := map[string][]string{}
	for name, row := range documentedMetrics(t) {
		known[name] = row.labels
	}
	asked := wantKnown(t, known, fleetDashboard, fleetRules)
	for name := range known {
		if strings.HasPrefix(name, agentMetrics) && !asked[name] {
			t.Errorf("neither the dashboard of a fleet nor an alert shows %s", name)
		}
	}
}

// metricRow is a row of the tables of metrics in the documentation.
type metricRow struct {
	kind   string
	labels []string
}

func (r metricRow) text() string { return r.kind + " " + strings.Join(r.labels, " ") }

// documentedMetrics returns the rows of the tables by the names of the metrics.
func documentedMetrics(t *testing.T) map[string]metricRow {
	t.Helper()
	rows := map[string]metricRow{}
	for _, row := range regexp.MustCompile("\n\\| `(image_cri_shim_\\w+)` \\| (\\w+) \\| ([^|]*) ?\\|").FindAllStringSubmatch(readFile(t, metricDocs), -1) {
		rows[row[1]] = metricRow{row[2], submatches("`(\\w+)`", row[3])}
	}
	return rows
}

// wantKnown requires that a dashboard and a file of rules use only known metrics, and only
// their labels. It returns the metrics that they use.
func wantKnown(t *testing.T, known map[string][]string, board, rules string) (asked map[string]bool) {
	t.Helper()
	_, expressions := panels(t, board)
	asked = map[string]bool{}
	for where, text := range map[string]string{board: strings.Join(expressions, "\n"), rules: readFile(t, rules)} {
		for _, use := range regexp.MustCompile(`\b(image_cri_shim_\w+|go_\w+|process_\w+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(text, -1) {
			name := use[1]
			if _, found := known[name]; !found {
				name = regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
			}
			labels, found := known[name]
			if !found {
				t.Errorf("%s uses %s, which is not exposed", where, use[1])
				continue
			}
			asked[name] = true
			for _, label := range submatches(`(\w+)(?:=|!)`, regexp.MustCompile(`"[^"]*"`).ReplaceAllString(use[2], "")) {
				if label != "instance" && label != "job" && !slices.Contains(labels, label) {
					t.Errorf("%s uses the label %s of %s, which has %q", where, label, name, labels)
				}
			}
		}
	}
	return asked
}

// labels returns the names of a metric's labels, in order.
func labels(family *dto.MetricFamily) []string {
	var names []string
	for _, metric := range family.GetMetric() {
		for _, pair := range metric.GetLabel() {
			names = append(names, pair.GetName())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// TestPrometheus lets Prometheus scrape a shim and evaluates all expressions of the dashboard
// and the alerts.
func TestPrometheus(t *testing.T) {
	if err := testbed.PrometheusMissing(); err != nil {
		t.Skip("Prometheus is not installed: ", err)
	}
	httpAddress, err := testbed.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t, shared.embedded, privateConfiguration()+"registries: [{address: http://127.0.0.1:1}]\nmetrics: "+httpAddress+"\n")
	configuration, err := testbed.Scrape("image-cri-shim", httpAddress, alertRules)
	if err != nil {
		t.Fatal(err)
	}
	prometheus, err := testbed.StartPrometheus(testContext(t), t.TempDir(), configuration)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(prometheus.Stop)
	ctx := testContext(t)
	_, expressions := panels(t, dashboard)
	eventually(t, func() string {
		n.pull(t, n.through, "nginx:1.25", nil)
		_, _ = n.through.Images.PullImage(ctx, &runtimeapi.ImageSpec{Image: "no-such:1"}, callerLogin, nil)
		for _, expression := range expressions {
			series, err := prometheus.Query(ctx, expression)
			if err != nil {
				t.Fatalf("%s: %v", expression, err)
			}
			if len(series) == 0 && !strings.Contains(expression, "calls_in_flight") { // calls in flight are rare
				return expression + " shows nothing"
			}
		}
		return ""
	})
	eventually(t, func() string {
		states, err := prometheus.Alerts(ctx)
		if err != nil || states["ImageCRIShimRegistryDown"] != "pending" || states["ImageCRIShimDown"] != "inactive" {
			return fmt.Sprintf("the alerts are %v, %v", states, err)
		}
		return ""
	})
}
