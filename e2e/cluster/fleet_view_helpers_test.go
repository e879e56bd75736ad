package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"image-cri-shim/e2e/cluster/bed"
)

const (
	fleetDashboard = "../../packaging/grafana/image-cri-shim-fleet.json"
	metricDocs     = "../../docs/metrics.md"
)

// fleetView is the dashboard of the fleet on a Prometheus that scrapes both nodes.
type fleetView struct {
	prometheus *bed.Prometheus
	queries    map[string]string // by the title of the panel, followed by the letter of one of several queries
	usual      shown             // in a state without failures
}

// shown are regular expressions for the results of queries, by their names. A result has a line
// for each series with its labels and its value, in order.
type shown map[string]string

// with returns a copy with other expectations.
func (s shown) with(changes shown) shown {
	changed := maps.Clone(s)
	maps.Copy(changed, changes)
	return changed
}

// newFleetView starts a Prometheus with the documented configuration and the packaged alerts.
func newFleetView(ctx context.Context, t *testing.T) *fleetView {
	t.Helper()
	documented := regexp.MustCompile("(?s)```yaml\n(scrape_configs:.*?)```").FindStringSubmatch(readText(t, metricDocs))
	if documented == nil {
		t.Fatalf("%s has no scrape_configs", metricDocs)
	}
	rules := "../../packaging/prometheus/image-cri-shim"
	prometheus, err := shared.StartPrometheus(ctx, namespace, documented[1], rules+".rules.yaml", rules+"-fleet.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(prometheus.Stop)
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ RefID, Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readText(t, fleetDashboard)), &board); err != nil {
		t.Fatal(err)
	}
	queries := make(map[string]string)
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			name := panel.Title
			if len(panel.Targets) > 1 {
				name += " " + target.RefID
			}
			queries[name] = strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*").Replace(target.Expr)
		}
	}
	return &fleetView{prometheus: prometheus, queries: queries}
}

// want waits until the dashboard shows what is usual with some changes, and the plugin a row for
// each node with these columns, separated by spaces: node, version, state, pulls failing.
func (v *fleetView) want(ctx context.Context, t *testing.T, state string, changes shown, rows ...string) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	want := v.usual.with(changes)
	if missing := slices.Sorted(maps.Keys(want)); !slices.Equal(missing, slices.Sorted(maps.Keys(v.queries))) {
		t.Fatalf("the expectations are %q, the queries %q", missing, slices.Sorted(maps.Keys(v.queries)))
	}
	if err := bed.Await(ctx, func(ctx context.Context) error { return v.check(ctx, want) }); err != nil {
		t.Fatalf("%s: %v\n%s", state, err, agentState(ctx))
	}
	t.Logf("%s: the dashboard shows it after %v", state, time.Since(began).Round(time.Second))
	wantTable(ctx, t, state, rows)
}

// check compares the results of all queries.
func (v *fleetView) check(ctx context.Context, want shown) error {
	var differences []string
	for name, pattern := range want {
		samples, err := v.prometheus.Query(ctx, v.queries[name])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		var lines []string
		for _, sample := range samples {
			line := sample.Value
			if len(sample.Labels) > 0 {
				line = strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(sample.Labels), "map["), "]") + " = " + line // sorted by label
			}
			lines = append(lines, line)
		}
		slices.Sort(lines)
		if text := strings.Join(lines, "\n"); !regexp.MustCompile("^(?:" + pattern + ")$").MatchString(text) {
			differences = append(differences, fmt.Sprintf("%s\n   is %q\n want %q", name, text, pattern))
		}
	}
	if len(differences) > 0 {
		slices.Sort(differences)
		return fmt.Errorf("the dashboard shows\n%s", strings.Join(differences, "\n"))
	}
	return nil
}

// wantTable waits until the table of kubectl image-cri-shim has the rows.
func wantTable(ctx context.Context, t *testing.T, state string, rows []string) {
	t.Helper()
	err := bed.Await(ctx, func(ctx context.Context) error {
		output, _, _, err := shared.Plugin(ctx, shared.Kubeconfig)
		if err != nil {
			return err
		}
		for _, row := range rows {
			column := strings.Fields(row)
			line := fmt.Sprintf(`(?m)^%s +%s +\S+ +%s +\d+ +\w+ +%s `, column[0], column[1], column[2], column[3])
			if !regexp.MustCompile(line).MatchString(output) {
				return fmt.Errorf("%q is not in\n%s", row, output)
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("%s: the table: %v", state, err)
	}
}

// wantDocumented requires that Prometheus has scraped each documented metric of the agents, and no
// other one.
func (v *fleetView) wantDocumented(ctx context.Context, t *testing.T) {
	t.Helper()
	var documented, scraped []string
	for _, row := range regexp.MustCompile("\n\\| `(image_cri_shim_agent_\\w+)`").FindAllStringSubmatch(readText(t, metricDocs), -1) {
		documented = append(documented, row[1])
	}
	samples, err := v.prometheus.Query(ctx, `count by (__name__) (last_over_time({__name__=~"image_cri_shim_agent_.*"}[10m]))`)
	if err != nil {
		t.Fatal(err)
	}
	for _, sample := range samples {
		scraped = append(scraped, sample.Labels["__name__"])
	}
	slices.Sort(documented)
	slices.Sort(scraped)
	if !slices.Equal(documented, scraped) {
		t.Errorf("%s has the metrics %q, the agents expose %q", metricDocs, documented, scraped)
	}
}

func readText(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
