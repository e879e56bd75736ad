package metrics

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"image-cri-shim/agent/status"
)

// TestMetricsAreDocumented requires that docs/metrics.md lists exactly the agent's metrics, with
// their types and labels.
func TestMetricsAreDocumented(t *testing.T) {
	s := readyStatus(time.Now())
	s.State, s.Ready, s.Reason = status.Failed, false, "disk full"
	s.LookUp = &status.LookUp{Unreachable: []status.Registry{{Address: "https://hub"}}}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector{status: s, now: time.Now()})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, family := range families {
		row := family.GetName() + " " + map[string]string{"COUNTER": "counter", "GAUGE": "gauge"}[family.GetType().String()]
		var labels []string
		for _, label := range family.Metric[0].Label {
			labels = append(labels, label.GetName())
		}
		slices.Sort(labels)
		want = append(want, strings.Join(append([]string{row}, labels...), " "))
	}
	const document = "../../docs/metrics.md"
	content, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, row := range regexp.MustCompile("(?m)^\\| `("+prefix+"_\\w+)` \\| (\\w+) \\| ?([^|]*?) ?\\|").FindAllStringSubmatch(string(content), -1) {
		var labels []string
		for _, label := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(row[3], -1) {
			labels = append(labels, label[1])
		}
		slices.Sort(labels)
		found = append(found, strings.Join(append([]string{row[1] + " " + row[2]}, labels...), " "))
	}
	slices.Sort(found)
	if !slices.Equal(found, want) {
		t.Errorf("%s lists %q, want %q", document, found, want)
	}
}
