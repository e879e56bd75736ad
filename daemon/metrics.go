package daemon

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"image-cri-shim/metrics"
	"image-cri-shim/registry"
	"image-cri-shim/rewrite"
	"image-cri-shim/version"
)

// applyMetrics turns metrics on or off according to the current configuration. since is the
// time when counting starts, zero if no call has started yet.
func (d *daemon) applyMetrics(since time.Time) {
	g, m := d.current.Load(), d.observers.metrics.Load()
	if g.settings.Metrics == "" {
		d.observers.metrics.Store(nil)
		return
	}
	if m == nil {
		m = metrics.New(metrics.Options{
			Version:  version.Short(),
			Revision: version.Revision(),
			Methods:  rewrite.Methods(),
			Since:    since,
			State:    d.state,
		})
	}
	registerSeries(m, g.registries.Conditions())
	d.observers.metrics.Store(m)
}

// Results of lookups in addition to the reasons of package registry.
const found, absent = "found", "absent"

// registerSeries creates the series that alerts watch for an increase, with the value 0.
func registerSeries(m *metrics.Metrics, registries []registry.Condition) {
	results := []string{found, absent}
	for _, reason := range registry.Reasons() {
		results = append(results, string(reason))
	}
	for _, outcome := range []rewrite.Outcome{rewrite.OutcomeOriginal, rewrite.OutcomeAbsent, rewrite.OutcomeFallback, rewrite.OutcomeRefused, rewrite.OutcomeFailed} {
		m.InitDecision("PullImage", "", string(outcome))
	}
	for _, c := range registries {
		m.InitLookups(c.Registry, results)
		m.InitDecision("PullImage", c.Registry, string(rewrite.OutcomeRegistry))
	}
}

// metrics serves the metrics, or 404 while they are off.
func (d *daemon) metrics(response http.ResponseWriter, request *http.Request) {
	if m := d.observers.metrics.Load(); m != nil {
		m.Handler().ServeHTTP(response, request)
		return
	}
	http.NotFound(response, request)
}

// state returns the values of the gauges. It calls the runtime.
func (d *daemon) state() metrics.State {
	g := d.current.Load()
	s := metrics.State{
		Started:       d.started,
		RuntimeUp:     d.checkRuntime(context.Background()) == nil,
		LedgerNames:   d.ledger.Len(),
		Naming:        string(d.namer.Status().Mode),
		NameRepairs:   d.namer.Repairs(),
		ConfigLoaded:  g.settings.Read,
		ConfigRefused: d.refusal() != "",
	}
	for _, c := range g.registries.Conditions() {
		s.Registries = append(s.Registries, metrics.Registry{Address: c.Registry, Down: c.Down, Connections: c.Connections, CacheEntries: c.CacheEntries})
	}
	return s
}

// countLookup counts a lookup in a registry.
func (o *observers) countLookup(l registry.LookupEvent) {
	m := o.metrics.Load()
	if m == nil {
		return
	}
	result := map[registry.State]string{registry.Found: found, registry.Absent: absent}[l.State]
	m.ObserveLookup(metrics.Lookup{
		Registry: l.Registry,
		Result:   cmp.Or(result, string(l.Reason)),
		Cached:   l.Cached && l.State != registry.Unknown,
		Duration: l.Duration,
	})
}

// countDecision counts a decision about an image name. Registries of requested names are not
// used as labels, because their number is not bounded.
func (o *observers) countDecision(decision rewrite.Decision) {
	m := o.metrics.Load()
	if m == nil {
		return
	}
	served := ""
	if decision.Outcome == rewrite.OutcomeRegistry {
		served = decision.Registry
	}
	m.ObserveDecision(decision.Method, served, string(decision.Outcome))
}
