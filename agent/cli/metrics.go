package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"image-cri-shim/agent/metrics"
	"image-cri-shim/agent/status"
	"image-cri-shim/version"
)

// showTime is the time for which the metrics show the error of an agent that has failed. It is the
// longest usual interval between two scrapes.
const showTime = time.Minute

// metricsAddress returns the address in the flag metrics, or "".
func metricsAddress(c *cli.Context) (string, error) {
	if !c.IsSet("metrics") {
		return "", nil
	}
	address, err := metrics.ParseAddress(c.String("metrics"))
	if err != nil {
		return "", usageError(c, "--metrics: %v", err)
	}
	return address, nil
}

// metricsServer serves the metrics of a node.
type metricsServer struct {
	address string // empty: no metrics
	log     logrus.FieldLogger
	end     context.CancelFunc
	serving sync.WaitGroup
	failure atomic.Pointer[string] // error of the agent; nil until it fails
}

// serveMetrics serves metrics at an address until ctx ends. With an empty address, it serves none.
// The listener needs no files, so the server may start before the agent enters the node.
func serveMetrics(ctx context.Context, address string, log logrus.FieldLogger) *metricsServer {
	ctx, cancel := context.WithCancel(ctx)
	s := &metricsServer{address: address, log: log, end: cancel}
	if address != "" {
		handler := metrics.Handler(metrics.Options{Version: version.Short(), Status: s.status, Shim: shimMetrics, Log: log})
		s.serving.Go(func() { metrics.Serve(ctx, address, handler, log) })
	}
	return s
}

// showFailure keeps serving for showTime if err, the error of the agent, is not nil.
func (s *metricsServer) showFailure(ctx context.Context, err error) {
	if err == nil || s.address == "" {
		return
	}
	text := err.Error()
	s.failure.Store(&text)
	s.log.WithError(err).Errorf("agent failed, exiting in %s; the metrics show the reason until then", showTime)
	select {
	case <-time.After(showTime):
	case <-ctx.Done():
	}
}

func (s *metricsServer) close() {
	s.end()
	s.serving.Wait()
}

// status returns the status of this agent. An agent that fails before it has written one has the
// state Failed.
func (s *metricsServer) status() (status.Status, error) {
	own, err := ownStatus()
	if failure := s.failure.Load(); failure != nil && err != nil {
		return status.Status{Version: version.Short(), State: status.Failed, Reason: *failure, Updated: time.Now()}, nil
	}
	return own, err
}

// ownStatus reads the status file. It returns an error if another process has written the file.
func ownStatus() (status.Status, error) {
	s, err := status.Read(status.File)
	switch {
	case err != nil:
		return status.Status{}, err
	case s.Process != os.Getpid() && s.Removed:
		return status.Status{}, errors.New("the first check of the node is in progress; the shim was removed before")
	case s.Process != os.Getpid():
		return status.Status{}, fmt.Errorf("the status is of another agent, process %d; this one waits until it ends, or has not begun yet", s.Process)
	}
	return s, nil
}

// shimMetrics returns the address of the shim's metrics in the configuration on the node, or "".
func shimMetrics() string {
	if settings := nodeSettings(); settings != nil {
		return settings.Metrics
	}
	return ""
}
