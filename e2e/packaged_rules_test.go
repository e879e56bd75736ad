package e2e

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

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
	var alerts, runbooks []string
	for _, file := range []string{alertRules, fleetRules} {
		rules, tests := readFile(t, file), strings.TrimSuffix(file, ".rules.yaml")+".test.yaml"
		own := submatches(`alert: (\w+)`, rules)
		if tested := submatches(`alertname: (\w+)`, readFile(t, tests)); !slices.Equal(own, tested) {
			t.Errorf("%s: the alerts are %q, but those with tests are %q", file, own, tested)
		}
		alerts = append(alerts, own...)
		runbooks = append(runbooks, submatches(`runbook_url: (.*)`, rules)...)
		runPromtool(t, "check", "rules", file)
		runPromtool(t, "test", "rules", tests)
	}
	slices.Sort(alerts)
	slices.Sort(runbooks)
	if documented := submatches("\n\\| `(ImageCRIShim\\w+)`", readFile(t, metricDocs)); !slices.Equal(alerts, documented) {
		t.Errorf("the alerts are %q, but those in %s are %q", alerts, metricDocs, documented)
	}
	const prefix = "/usr/share/doc/image-cri-shim/docs/metrics.md#"
	var sections []string
	for _, alert := range alerts {
		sections = append(sections, prefix+strings.ToLower(alert))
	}
	slices.Sort(sections)
	if !slices.Equal(runbooks, sections) {
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
}
