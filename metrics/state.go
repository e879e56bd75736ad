package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// State is the state of the daemon.
type State struct {
	Started       time.Time // of the process
	RuntimeUp     bool      // whether the runtime answers
	LedgerNames   int
	Naming        string    // NamesRuntime, NamesLedger or NamesUnknown
	NameRepairs   int       // repositories with names that the runtime refused to change
	ConfigLoaded  time.Time // when the configuration in force was read
	ConfigRefused bool      // the last reload failed
	Registries    []Registry
}

// The values of [State.Naming]: where the names of pulled images are kept.
const (
	NamesRuntime = "runtime"
	NamesLedger  = "ledger"
	NamesUnknown = "unknown"
)

// namesWaiting returns the number of names in the ledger that are to be moved to the runtime.
func (s State) namesWaiting() int {
	if s.Naming != NamesRuntime {
		return 0
	}
	return s.LedgerNames
}

// Registry is the state of a registry.
type Registry struct {
	Address      string
	Down         bool // not asked until it answers again
	Connections  int
	CacheEntries int // cached answers
}

// stateCollector collects the state at each scrape.
type stateCollector struct{ state func() State }

func newStateCollector(state func() State) stateCollector { return stateCollector{state} }

func gaugeDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	startTime        = gaugeDesc("start_time_seconds", "Start time of the process, in seconds since 1970.")
	runtimeUp        = gaugeDesc("runtime_up", "Whether the runtime answers.")
	ledgerNames      = gaugeDesc("ledger_names", "Image names in the ledger.")
	namesMode        = gaugeDesc("names", "Where the names of pulled images are kept: 1 for the current mode.", "mode")
	namesWaiting     = gaugeDesc("names_waiting", "Image names in the ledger that are to be moved to the runtime.")
	namesRepairs     = gaugeDesc("names_repairs", "Repositories with image names that could not be changed in the runtime and are retried.")
	reloadSuccessful = gaugeDesc("config_last_reload_successful", "Whether the last load of the configuration file succeeded.")
	reloadTime       = gaugeDesc("config_last_reload_success_timestamp_seconds", "When the configuration in force was read, in seconds since 1970.")
	registryDown     = gaugeDesc("registry_circuit_open", "Whether the registry is known to be down and is not asked.", "registry")
	registryOpen     = gaugeDesc("registry_connections", "Open connections to the registry and its token server.", "registry")
	registryCached   = gaugeDesc("cache_entries", "Cached answers of the registry.", "registry")
)

// Describe implements [prometheus.Collector].
func (stateCollector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{startTime, runtimeUp, ledgerNames, namesMode, namesWaiting, namesRepairs, reloadSuccessful, reloadTime, registryDown, registryOpen, registryCached} {
		descriptions <- d
	}
}

// Collect implements [prometheus.Collector].
func (c stateCollector) Collect(values chan<- prometheus.Metric) {
	set := func(description *prometheus.Desc, value float64, labels ...string) {
		values <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, labels...)
	}
	s := c.state()
	set(startTime, unixSeconds(s.Started))
	set(runtimeUp, boolValue(s.RuntimeUp))
	set(ledgerNames, float64(s.LedgerNames))
	for _, mode := range []string{NamesRuntime, NamesLedger, NamesUnknown} {
		set(namesMode, boolValue(mode == s.Naming), mode)
	}
	set(namesWaiting, float64(s.namesWaiting()))
	set(namesRepairs, float64(s.NameRepairs))
	set(reloadSuccessful, boolValue(!s.ConfigRefused))
	set(reloadTime, unixSeconds(s.ConfigLoaded))
	for _, r := range mergeByAddress(s.Registries) {
		set(registryDown, boolValue(r.Down), r.Address)
		set(registryOpen, float64(r.Connections), r.Address)
		set(registryCached, float64(r.CacheEntries), r.Address)
	}
}

// mergeByAddress merges the registries with the same address. A configuration may list a
// registry several times with different rules.
func mergeByAddress(registries []Registry) map[string]Registry {
	merged := map[string]Registry{}
	for _, r := range registries {
		m := merged[r.Address]
		merged[r.Address] = Registry{r.Address, m.Down || r.Down, m.Connections + r.Connections, m.CacheEntries + r.CacheEntries}
	}
	return merged
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func boolValue(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
