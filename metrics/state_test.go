package metrics

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestNames requires a series for each mode, and that names in the ledger count as waiting
// only if the runtime keeps the names.
func TestNames(t *testing.T) {
	for mode, waiting := range map[string]string{NamesRuntime: "3", NamesLedger: "0", NamesUnknown: "0"} {
		m := New(Options{State: func() State { return State{Naming: mode, LedgerNames: 3, NameRepairs: 2} }})
		want := `
# HELP image_cri_shim_names Where the names of pulled images are kept: 1 for the current mode.
# TYPE image_cri_shim_names gauge
image_cri_shim_names{mode="ledger"} 0
image_cri_shim_names{mode="runtime"} 0
image_cri_shim_names{mode="unknown"} 0
# HELP image_cri_shim_names_waiting Image names in the ledger that are to be moved to the runtime.
# TYPE image_cri_shim_names_waiting gauge
image_cri_shim_names_waiting ` + waiting + `
# HELP image_cri_shim_names_repairs Repositories with image names that could not be changed in the runtime and are retried.
# TYPE image_cri_shim_names_repairs gauge
image_cri_shim_names_repairs 2
`
		want = strings.Replace(want, `{mode="`+mode+`"} 0`, `{mode="`+mode+`"} 1`, 1)
		if err := testutil.GatherAndCompare(m.gatherer, strings.NewReader(want), "image_cri_shim_names", "image_cri_shim_names_waiting", "image_cri_shim_names_repairs"); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

// TestStateIsDescribed collects from a registry that refuses metrics without a description.
func TestStateIsDescribed(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newStateCollector(func() State { return State{Registries: []Registry{{Address: "http://hub"}}} }))
	families, err := registry.Gather()
	if err != nil {
		t.Error(err)
	}
	if len(families) < 11 {
		t.Errorf("%d metrics, want at least 11", len(families))
	}
}
