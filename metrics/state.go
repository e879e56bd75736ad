package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// State is how things stand at one moment.
type State struct {
	Started     time.Time // the process
	RuntimeUp   bool      // it answers
	LedgerNames int
	Naming      string    // where names of pulled images are kept: one of the modes
	NameRepairs int       // repositories whose names the runtime refused to change
	Loaded      time.Time // the configuration that counts was read
	LoadRefused bool      // the last time
	Registries  []Registry
}

// The modes of [State.Naming].
const (
	NamesRuntime = "runtime"
	NamesLedger  = "ledger"
	NamesUnknown = "unknown"
)

// waiting returns how many names wait in the ledger to be given in the runtime.
func (s State) waiting() int {
	if s.Naming != NamesRuntime {
		return 0
	}
	return s.LedgerNames
}

// Registry is how one stands.
type Registry struct {
	Address     string
	Down        bool // it is not asked before it answers again
	Connections int
	Remembered  int // answers in the cache
}

// stateCollector asks for the state at each scrape.
type stateCollector struct{ state func() State }

func newStateCollector(state func() State) stateCollector { return stateCollector{state} }

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	startTime      = gauge("start_time_seconds", "When the process began, in seconds since 1970.")
	runtimeUp      = gauge("runtime_up", "Whether the runtime answers.")
	ledgerNames    = gauge("ledger_names", "Image names that the ledger knows.")
	names          = gauge("names", "Where the names of pulled images are kept: 1 for the mode in force.", "mode")
	namesWaiting   = gauge("names_waiting", "Image names that only the ledger has although the runtime is to keep them.")
	namesRepairs   = gauge("names_repairs", "Repositories whose image names could not be changed in the runtime. It is retried.")
	reloadGood     = gauge("config_last_reload_successful", "Whether the configuration file could be loaded the last time.")
	reloadTime     = gauge("config_last_reload_success_timestamp_seconds", "When the configuration that counts was read, in seconds since 1970.")
	registryDown   = gauge("registry_circuit_open", "Whether the registry is known to be down, and is not asked.", "registry")
	registryOpen   = gauge("registry_connections", "Connections that are open because of the registry, its token server's included.", "registry")
	registryCached = gauge("cache_entries", "Answers of the registry that are remembered.", "registry")
)

// Describe implements [prometheus.Collector].
func (stateCollector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{startTime, runtimeUp, ledgerNames, names, namesWaiting, namesRepairs, reloadGood, reloadTime, registryDown, registryOpen, registryCached} {
		descriptions <- d
	}
}

// Collect implements [prometheus.Collector].
func (c stateCollector) Collect(values chan<- prometheus.Metric) {
	set := func(description *prometheus.Desc, value float64, labels ...string) {
		values <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, labels...)
	}
	s := c.state()
	set(startTime, seconds(s.Started))
	set(runtimeUp, truth(s.RuntimeUp))
	set(ledgerNames, float64(s.LedgerNames))
	for _, mode := range []string{NamesRuntime, NamesLedger, NamesUnknown} {
		set(names, truth(mode == s.Naming), mode)
	}
	set(namesWaiting, float64(s.waiting()))
	set(namesRepairs, float64(s.NameRepairs))
	set(reloadGood, truth(!s.LoadRefused))
	set(reloadTime, seconds(s.Loaded))
	for _, r := range byAddress(s.Registries) {
		set(registryDown, truth(r.Down), r.Address)
		set(registryOpen, float64(r.Connections), r.Address)
		set(registryCached, float64(r.Remembered), r.Address)
	}
}

// byAddress puts together the registries that a configuration has several times, with
// other rules.
func byAddress(registries []Registry) map[string]Registry {
	merged := map[string]Registry{}
	for _, r := range registries {
		m := merged[r.Address]
		merged[r.Address] = Registry{r.Address, m.Down || r.Down, m.Connections + r.Connections, m.Remembered + r.Remembered}
	}
	return merged
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
