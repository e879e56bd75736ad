// Package metrics serves the metrics of a node to Prometheus: those of the agent, followed by
// those of the shim, which the agent requests at each scrape.
//
// The agent's metrics are the content of its status. An answer of the shim that is missing, too
// large or invalid does not change them: the response then has only the agent's metrics, with
// image_cri_shim_agent_shim_scraped 0.
//
// names.go declares the metrics, collector.go fills them, shim.go requests those of the shim, and
// server.go listens.
package metrics

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/sirupsen/logrus"

	"image-cri-shim/agent/status"
)

// shimTimeout limits the request to the shim. It is shorter than the timeout of a scrape, 10 s
// by default.
const shimTimeout = 5 * time.Second

// Options configures the metrics.
type Options struct {
	Version string // of the agent
	// Status returns the agent's status.
	Status func() (status.Status, error)
	// Shim returns the address of the shim's metrics, host:port or the absolute path of a socket.
	// It is empty if the shim serves none.
	Shim func() string
	Log  logrus.FieldLogger
}

// Handler serves GET and HEAD of /metrics. It requests the metrics of the shim for one request at a
// time. Others wait, and after shimTimeout, get only the agent's metrics.
func Handler(o Options) http.Handler {
	h := &handler{Options: o, turn: make(chan struct{}, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", h.serve)
	return mux
}

type handler struct {
	Options
	turn    chan struct{} // semaphore of the request to the shim
	problem string        // last logged error of the shim's metrics; guarded by turn
}

func (h *handler) serve(response http.ResponseWriter, request *http.Request) {
	// The time in the queue counts: a shim that hangs must not delay two servers of Prometheus
	// until their scrapes have timed out.
	limited, cancel := context.WithTimeout(request.Context(), shimTimeout)
	defer cancel()
	var families []*dto.MetricFamily
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
		families = h.shim(limited, request.Context())
	case <-limited.Done():
		if request.Context().Err() != nil {
			return
		}
	}
	own := prometheus.NewPedanticRegistry()
	c := collector{version: h.Version, now: time.Now(), scraped: families != nil}
	c.status, c.err = h.Status()
	own.MustRegister(c)
	all := prometheus.Gatherers{own, prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return families, nil })}
	promhttp.HandlerFor(all, promhttp.HandlerOpts{ErrorLog: h.Log.WithField("server", "metrics"), ErrorHandling: promhttp.ContinueOnError}).ServeHTTP(response, request)
}

// shim returns the metrics of the shim, or nil. It logs an error once. client is the context of
// the client's request, and limited adds the time limit.
func (h *handler) shim(limited, client context.Context) []*dto.MetricFamily {
	families, err := scrape(limited, h.Shim())
	if client.Err() != nil {
		return nil // the client has closed the connection
	}
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	if problem != "" && problem != h.problem {
		h.Log.WithError(err).Warn("the metrics of the shim are missing")
	}
	h.problem = problem
	return families
}
