package rollout

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"image-cri-shim/agent/status"
)

// examineInterval is the mean time between two examinations of the node by the doctor. It varies by
// a quarter, which spreads the requests of all nodes.
const examineInterval = 10 * time.Minute

// examination is the next examination of the node by the doctor.
type examination struct {
	of status.Applied // the release that is examined
	at time.Time
}

// examine adds the failures that the doctor finds to the log and the status, after a release was
// applied and then after each interval. It runs after the status of a look was written, and does
// not change whether the node is ready: the runtime's access to a registry is not the agent's to
// mend, and must not stop a roll-out.
//
// After a release was applied or the agent has started, the first examination waits for a random
// time up to Jitter, because both happen on all nodes of a cluster at once.
func (r *Rollout) examine(ctx context.Context) {
	applied := r.Record.state.Applied
	if applied == nil || applied.Version != r.Version || ctx.Err() != nil {
		return
	}
	if r.examination.of != *applied {
		r.examination = examination{*applied, time.Now().Add(upTo(r.Jitter))}
	}
	if time.Now().Before(r.examination.at) {
		return
	}
	failures, err := r.Service.Examine(ctx)
	if ctx.Err() != nil {
		return
	}
	r.examination.at = time.Now().Add(examineInterval*3/4 + upTo(examineInterval/2))
	former := r.report.status.Doctor
	var found []string
	for _, f := range failures {
		text := f.Check + " " + f.Subject + ": " + f.Text
		found = append(found, text)
		if !slices.Contains(former, text) {
			r.Log.WithField("hint", f.Hint).Warn("doctor: " + text)
		}
	}
	if err != nil {
		text := "the node was not examined: " + err.Error()
		found = append(found, text)
		if !slices.Contains(former, text) {
			r.Log.Warn("doctor: " + text)
		}
	}
	r.report.status.Doctor = found
	r.writeStatus()
}

// untilExamination returns the time until the next examination, and at most the interval of looks.
func (r *Rollout) untilExamination() time.Duration {
	if wait := time.Until(r.examination.at); wait > 0 {
		return min(wait, r.Interval)
	}
	return r.Interval
}

// upTo returns a random duration from 0 to the maximum.
func upTo(maximum time.Duration) time.Duration { return rand.N(max(maximum, 0) + 1) }
