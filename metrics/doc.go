// Package metrics counts what the shim does, for Prometheus.
//
// It knows none of the parts that it counts for: whoever puts them together tells it
// of each call, decision and look-up, and how things stand when it is asked.
//
//	m := metrics.New(metrics.Options{State: state, Methods: rewrite.Methods()})
//	m.Begin(method, start)
//	...
//	m.End(metrics.Call{Method: method, Start: start, Code: uint32(codes.OK), ...})
//	http.Handle("GET /metrics", m.Handler())
//
// Every label has a bounded number of values: methods that nobody has announced get
// series of their own only when the runtime has answered one of their calls with OK, and
// only so many do; the others are counted together, as "other". Registries are those of
// the configuration; image names are no label.
//
// docs/metrics.md lists the metrics.
package metrics
