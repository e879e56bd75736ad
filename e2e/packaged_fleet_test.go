package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// downNodes are nodes with an agent that ends and is started again every 5 minutes, with one that
// failed, was ready and is down, with one that is down for an hour, and with one that is not ready.
const downNodes = `
  - {series: 'up{job="image-cri-shim-agent", instance="loops"}', values: '1 1 1 1 0x5 1 1 0x9'}
  - {series: 'image_cri_shim_agent_state{instance="loops", state="ready"}', values: '1 1 0 0 stale _x4 0 0 stale'}
  - {series: 'image_cri_shim_agent_unready_info{instance="loops", state="refused", step="check", reason="timeot"}', values: '_ _ 1 1 stale _x5 1 stale'}
  - {series: 'image_cri_shim_agent_unready_info{instance="loops", state="applying", step="install", reason="in progress"}', values: '_x9 1 stale'}
  - {series: 'up{job="image-cri-shim-agent", instance="dead"}', values: '1x9 0x9'}
  - {series: 'image_cri_shim_agent_state{instance="dead", state="ready"}', values: '0x4 1x5 stale'}
  - {series: 'image_cri_shim_agent_unready_info{instance="dead", state="failed", step="probe", reason="old"}', values: '1x4 stale'}
  - {series: 'up{job="image-cri-shim-agent", instance="gone"}', values: '0x20'}
  - {series: 'up{job="image-cri-shim-agent", instance="ill"}', values: '1x20'}
  - {series: 'image_cri_shim_agent_unready_info{instance="ill", state="waiting", step="point", reason="kubelet"}', values: '1x20'}
`

// TestDownNodes requires that the table of nodes that are not ready has one row for each of them,
// with the last state and reason of an agent that does not answer.
func TestDownNodes(t *testing.T) {
	board, expressions := panels(t, fleetDashboard)
	var query string
	for _, p := range board {
		for range p.Targets {
			if p.Title == "Nodes not ready" && query == "" {
				query = expressions[0]
			}
			expressions = expressions[1:]
		}
	}
	quoted, err := json.Marshal("0 * (" + query + ")") // the values mean nothing
	if err != nil {
		t.Fatal(err)
	}
	test := fmt.Sprintf("tests:\n- interval: 1m\n  input_series:%s  promql_expr_test:\n  - eval_time: 15m\n    expr: %s\n    exp_samples:\n", downNodes, quoted)
	for _, labels := range []string{
		`{instance="loops", state="down, was refused", step="check", reason="timeot"}`,
		`{instance="dead", state="down, was ready"}`,
		`{instance="gone", state="down"}`,
		`{instance="ill", state="waiting", step="point", reason="kubelet"}`,
	} {
		test += fmt.Sprintf("    - {labels: '%s', value: 0}\n", labels)
	}
	file := filepath.Join(t.TempDir(), "test.yaml")
	if err := os.WriteFile(file, []byte(test), 0o600); err != nil {
		t.Fatal(err)
	}
	runPromtool(t, "test", "rules", file)
}
