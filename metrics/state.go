package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// State is the state of the daemon.
type State struct {
	Started       time.Time // of the process
	RuntimeUp     bool      // the runtime answers
	LedgerNames   int
	Naming        string    // one of the modes below
	NameRepairs   int       // repositories whose names the runtime refused to change
	ConfigLoaded  time.Time // time of the configuration in force
	ConfigRefused bool      // the last reload failed
	Registries    []Registry
}

// The modes of [State.Naming]: the place of the names of pulled images.
const (
	NamesRuntime = "runtime"
	NamesLedger  = "ledger"
	NamesUnknown = "unknown"
)

// namesWaiting returns the number of names in the ledger that are to move to the runtime.
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
	startTime        = gaugeDesc("start_time_seconds", "When the process began, in seconds since 1970.")
	runtimeUp        = gaugeDesc("runtime_up", "Whether the runtime answers.")
	ledgerNames      = gaugeDesc("ledger_names", "Image names that the ledger knows.")
	namesMode        = gaugeDesc("names", "Where the names of pulled images are kept: 1 for the mode in force.", "mode")
	namesWaiting     = gaugeDesc("names_waiting", "Image names that only the ledger has although the runtime is to keep them.")
	namesRepairs     = gaugeDesc("names_repairs", "Repositories whose image names could not be changed in the runtime. It is retried.")
	reloadSuccessful = gaugeDesc("config_last_reload_successful", "Whether the configuration file could be loaded the last time.")
	reloadTime       = gaugeDesc("config_last_reload_success_timestamp_seconds", "When the configuration that counts was read, in seconds since 1970.")
	registryDown     = gaugeDesc("registry_circuit_open", "Whether the registry is known to be down, and is not asked.", "registry")
	registryOpen     = gaugeDesc("registry_connections", "Connections that are open because of the registry, its token server's included.", "registry")
	registryCached   = gaugeDesc("cache_entries", "Answers of the registry that are remembered.", "registry")
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

// mergeByAddress merges registries that a configuration contains several times, with
// different rules.
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
