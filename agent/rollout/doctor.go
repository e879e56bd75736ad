package rollout

import (
	"context"
	"slices"
	"time"

	"image-cri-shim/agent/status"
)

// examineInterval is the time between two examinations of the node by the doctor.
const examineInterval = 10 * time.Minute

// examination is the last examination of the node by the doctor.
type examination struct {
	applied status.Applied // at that time
	ended   time.Time
}

// examine adds the failures that the doctor finds to the log and the status, after a release was
// applied and then after each interval. It runs after the status of a look was written, and does
// not change whether the node is ready: the runtime's access to a registry is not the agent's to
// mend, and must not stop a roll-out.
func (r *Rollout) examine(ctx context.Context) {
	applied := r.Record.state.Applied
	if applied == nil || applied.Version != r.Version || ctx.Err() != nil {
		return
	}
	if r.examined.applied == *applied && time.Since(r.examined.ended) < examineInterval {
		return
	}
	failures, err := r.Service.Examine(ctx)
	if ctx.Err() != nil {
		return
	}
	r.examined = examination{*applied, time.Now()}
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
