package metrics

import (
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"image-cri-shim/agent/status"
	"image-cri-shim/printable"
)

// maxReason limits a reason in a label, in bytes.
const maxReason = 200

// collector exports the agent's status.
type collector struct {
	version string
	status  status.Status
	err     error // from reading the status
	now     time.Time
	scraped bool // the metrics of the shim are available
}

// Describe describes no metric, because labels vary.
func (collector) Describe(chan<- *prometheus.Desc) {}

func (c collector) Collect(metrics chan<- prometheus.Metric) {
	send := func(desc *prometheus.Desc, value float64, labels ...string) {
		for i := range labels {
			labels[i] = strings.ToValidUTF8(labels[i], "")
		}
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	send(buildInfo, 1, c.version)
	send(shimScraped, number(c.scraped))
	current, reason := status.Applying, c.err
	if c.err == nil {
		current, reason = c.status.StateAt(c.now), c.status.CheckReady(c.now)
	}
	for _, s := range status.States {
		send(state, number(s == current), string(s))
	}
	if reason != nil {
		step, text := c.status.Explain(reason)
		send(unreadyInfo, 1, string(current), step, reasonLabel(text))
	}
	if c.err != nil {
		return
	}
	s := c.status
	if s.Hash != "" {
		send(requestedInfo, 1, status.Short(s.Hash), s.Version)
	}
	if s.Applied != nil {
		send(appliedInfo, 1, status.Short(s.Applied.Hash), s.Applied.Version)
	}
	drifts, attempts := 0, 0
	if s.Drift != nil {
		drifts = s.Drift.Count
	}
	if s.Failure != nil {
		attempts = s.Failure.Attempts
	}
	metrics <- prometheus.MustNewConstMetric(drift, prometheus.CounterValue, float64(drifts))
	send(failedAttempts, float64(attempts))
	send(connected, number(s.KubeletConnected))
	send(restarts, float64(s.KubeletRestarts))
	send(doctorFailures, float64(len(s.Doctor)))
	send(timestamp, float64(s.Updated.UnixMilli())/1000)
	if s.LookUp != nil {
		sent := make(map[string]bool)
		for _, r := range s.LookUp.Unreachable {
			if address := strings.ToValidUTF8(withoutUsers(r.Address), ""); !sent[address] {
				sent[address] = true
				send(unreachable, 1, address)
			}
		}
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// reasonLabel returns a reason as one short line.
func reasonLabel(reason string) string {
	return printable.Line(strings.ReplaceAll(withoutUsers(reason), "\n", "; "), maxReason)
}

// userInfo matches the user and the password in a URL. The errors of the program have none.
var userInfo = regexp.MustCompile(`://[^/\s]+@`)

func withoutUsers(text string) string { return userInfo.ReplaceAllString(text, "://") }
