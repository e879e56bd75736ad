package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

const (
	alertRules = "../packaging/prometheus/image-cri-shim.rules.yaml"
	alertTests = "../packaging/prometheus/image-cri-shim.test.yaml"
	dashboard  = "../packaging/grafana/image-cri-shim.json"
	metricDocs = "../docs/metrics.md"
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

func runPromtool(t *testing.T, arguments ...string) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("promtool is not installed (Debian's package prometheus)")
	}
	if output, err := exec.CommandContext(testContext(t), "promtool", arguments...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
}

// TestAlertRules runs the rules' unit tests. They and the documentation must cover each
// alert.
func TestAlertRules(t *testing.T) {
	alerts := submatches(`alert: (\w+)`, readFile(t, alertRules))
	if tested := submatches(`alertname: (\w+)`, readFile(t, alertTests)); !slices.Equal(alerts, tested) {
		t.Errorf("the alerts are %q, but those with tests are %q", alerts, tested)
	}
	if documented := submatches("\n\\| `(ImageCRIShim\\w+)`", readFile(t, metricDocs)); !slices.Equal(alerts, documented) {
		t.Errorf("the alerts are %q, but those in %s are %q", alerts, metricDocs, documented)
	}
	const prefix = "/usr/share/doc/image-cri-shim/docs/metrics.md#"
	var sections []string
	for _, alert := range alerts {
		sections = append(sections, prefix+strings.ToLower(alert))
	}
	slices.Sort(sections)
	if runbooks := submatches(`runbook_url: (.*)`, readFile(t, alertRules)); !slices.Equal(runbooks, sections) {
		t.Errorf("the runbooks are %q, want %q", runbooks, sections)
	}
	_, runbook, _ := strings.Cut(readFile(t, metricDocs), "\n## Runbook\n")
	for _, section := range strings.Split(runbook, "\n### ")[1:] {
		if alert, text, _ := strings.Cut(section, "\n"); !slices.Contains(alerts, alert) || !strings.Contains(text, "\n- Look: ") || !strings.Contains(text, "\n- Do: ") {
			t.Errorf("the runbook's section %q is not of an alert, or lacks Look or Do", alert)
		}
	}
	if headings := submatches("\n### (ImageCRIShim\\w+)", runbook); !slices.Equal(headings, alerts) {
		t.Errorf("the runbook describes %q, want %q", headings, alerts)
	}
	runPromtool(t, "check", "rules", alertRules)
	runPromtool(t, "test", "rules", alertTests)
}

// panel is the part of a dashboard's panel that the tests read.
type panel struct {
	ID      int
	Type    string
	Title   string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ RefID, Expr string }
}

// panels returns the panels of the dashboard and their expressions as Prometheus gets them.
func panels(t *testing.T) (panels []panel, expressions []string) {
	t.Helper()
	var board struct {
		UID, Title    string
		SchemaVersion int
		Templating    struct{ List []struct{ Name, Type string } }
		Panels        []panel
	}
	if err := json.Unmarshal([]byte(readFile(t, dashboard)), &board); err != nil {
		t.Fatal(err)
	}
	if board.UID == "" || board.Title == "" || board.SchemaVersion == 0 || len(board.Templating.List) != 2 {
		t.Errorf("unexpected dashboard %+v", board)
	}
	replacer := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*")
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			expressions = append(expressions, replacer.Replace(target.Expr))
		}
	}
	return board.Panels, expressions
}

// TestDashboard requires that each panel has a position and a unique name, as Grafana needs,
// and that Prometheus can parse the expressions.
func TestDashboard(t *testing.T) {
	panels, expressions := panels(t)
	if panels[1].Title != "Pulls failing now" || panels[1].GridPos.Y != 1 {
		t.Errorf("the first panel is %+v, want that of failing pulls", panels[1])
	}
	seen, places := map[string]bool{}, map[[2]int]string{}
	once := func(kind, value string) {
		if value == "" || seen[kind+value] {
			t.Errorf("a panel's %s is %q, which is empty or not unique", kind, value)
		}
		seen[kind+value] = true
	}
	for _, p := range panels {
		once("title ", p.Title)
		once("ID ", fmt.Sprint(p.ID))
		if (p.Type == "row") != (len(p.Targets) == 0) || p.GridPos.W < 1 || p.GridPos.H < 1 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("unexpected panel %+v", p)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, taken := places[[2]int{x, y}]; taken {
					t.Fatalf("%s overlaps %s", p.Title, other)
				}
				places[[2]int{x, y}] = p.Title
			}
		}
		for _, target := range p.Targets {
			once("query ", p.Title+target.RefID)
		}
	}
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for i, expression := range expressions {
		fmt.Fprintf(&rules, "  - record: panel:%d\n    expr: %q\n", i, expression)
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	runPromtool(t, "check", "rules", file)
}

// TestShownMetrics compares the metrics of a shim with the documentation, and with the
// metrics that the alerts and the dashboard use.
func TestShownMetrics(t *testing.T) {
	n, httpAddress := newMetricsNode(t, shared.embedded, privateConfiguration())
	n.pull(t, n.through, "nginx:1.25", nil)
	exposed := settled(t, httpAddress)

	documented := map[string]string{}
	for _, row := range regexp.MustCompile("\n\\| `(image_cri_shim_\\w+)` \\| (\\w+) \\| ([^|]*) ?\\|").FindAllStringSubmatch(readFile(t, metricDocs), -1) {
		documented[row[1]] = row[2] + " " + strings.Join(submatches("`(\\w+)`", row[3]), " ")
	}
	real := map[string]string{}
	for name, family := range exposed {
		if strings.HasPrefix(name, "image_cri_shim_") {
			real[name] = strings.ToLower(family.GetType().String()) + " " + strings.Join(labels(family), " ")
		}
	}
	if !maps.Equal(documented, real) {
		t.Errorf("%s lists\n%q, but exposed are\n%q", metricDocs, documented, real)
	}

	_, expressions := panels(t)
	asked := map[string]bool{}
	for where, text := range map[string]string{dashboard: strings.Join(expressions, "\n"), alertRules: readFile(t, alertRules)} {
		for _, use := range regexp.MustCompile(`\b(image_cri_shim_\w+|go_\w+|process_\w+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(text, -1) {
			name := use[1]
			if exposed[name] == nil {
				name = regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
			}
			family := exposed[name]
			if family == nil {
				t.Errorf("%s uses %s, which is not exposed", where, use[1])
				continue
			}
			asked[name] = true
			for _, label := range submatches(`(\w+)(?:=|!)`, regexp.MustCompile(`"[^"]*"`).ReplaceAllString(use[2], "")) {
				if label != "instance" && label != "job" && !slices.Contains(labels(family), label) {
					t.Errorf("%s uses the label %s of %s, which has %q", where, label, name, labels(family))
				}
			}
		}
	}
	for name := range real {
		if !asked[name] {
			t.Errorf("neither the dashboard nor an alert shows %s", name)
		}
	}
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
	prometheus, err := testbed.StartPrometheus(testContext(t), t.TempDir(), "image-cri-shim", httpAddress, alertRules)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(prometheus.Stop)
	ctx := testContext(t)
	_, expressions := panels(t)
	eventually(t, func() string {
		n.pull(t, n.through, "nginx:1.25", nil)
		_, _ = n.through.Images.PullImage(ctx, &runtimeapi.ImageSpec{Image: "no-such:1"}, callerLogin, nil)
		for _, expression := range expressions {
			series, err := prometheus.Query(ctx, expression)
			if err != nil {
				t.Fatalf("%s: %v", expression, err)
			}
			if series == 0 && !strings.Contains(expression, "calls_in_flight") { // calls in flight are rare
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
