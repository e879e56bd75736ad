// Package metrics counts what the shim does, for Prometheus.
//
// It does not depend on the packages that it counts for. The daemon reports each call,
// decision and look-up, and provides the current state at each scrape.
//
//	m := metrics.New(metrics.Options{State: state, Methods: rewrite.Methods()})
//	m.Begin(method, start)
//	...
//	m.End(metrics.Call{Method: method, Start: start, Code: uint32(codes.OK), ...})
//	http.Handle("GET /metrics", m.Handler())
//
// Every label has a bounded number of values. A method that is not declared in
// [Options.Methods] gets its own series once the runtime answers a call of it with OK, up
// to a limit. All others are counted together as "other". Registries are those of the
// configuration; image names are no label.
//
// docs/metrics.md lists the metrics.
package metrics
