// Package metrics exports the metrics of the shim to Prometheus.
//
// It does not import the packages that it measures. The daemon reports each call, decision
// and lookup, and provides the current state at each scrape.
//
//	m := metrics.New(metrics.Options{State: state, Methods: rewrite.Methods()})
//	m.Begin(method, start)
//	...
//	m.End(metrics.Call{Method: method, Start: start, Code: uint32(codes.OK), ...})
//	http.Handle("GET /metrics", m.Handler())
//
// Every label has a bounded number of values. A method that is not declared in
// [Options.Methods] gets its own series once the runtime answers a call of it with OK, up
// to a limit. All others are counted together as "other". Registry labels are the
// addresses in the configuration; image names are not used as labels.
//
// docs/metrics.md lists the metrics.
package metrics
