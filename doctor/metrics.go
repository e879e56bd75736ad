package doctor

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"syscall"
)

// checkMetrics reports whether the running shim listens on the metrics address.
func checkMetrics(_ context.Context, n *node) []Finding {
	if n.Settings.Metrics == "" || !n.isRunning() || n.shimStatus.Waiting != "" {
		return nil
	}
	t := topic{"metrics", n.Settings.Metrics}
	problem := n.shimStatus.Metrics
	switch {
	case problem == "":
		return []Finding{t.ok("served")}
	case strings.Contains(problem, syscall.EADDRINUSE.Error()) && !filepath.IsAbs(t.subject):
		_, port, _ := net.SplitHostPort(t.subject)
		return []Finding{t.warn("set the key metrics to a free port, the shim then listens there without a restart; `ss -ltnp sport = :"+port+"` shows the process that has this one", "another process uses the address, so the shim serves no metrics: %s", problem)}
	}
	return []Finding{t.warn("set the key metrics to an address of this node; the shim then listens there without a restart", "the shim serves no metrics: %s", problem)}
}
