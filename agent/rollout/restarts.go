package rollout

import (
	"context"
	"fmt"
	"slices"
	"time"

	"image-cri-shim/agent/pointing"
	"image-cri-shim/agent/status"
)

const (
	maxRestarts    = status.MaxKubeletRestarts // within restartsWindow
	restartsWindow = time.Hour
)

// CountRestarts returns units that record each restart of kubelet before it happens. Package
// pointing restarts kubelet with RestartNoWait, and it starts no unit but the switch, which
// restarts kubelet too.
func (r *Record) CountRestarts(units pointing.Manager) pointing.Manager {
	return countingManager{units, r}
}

type countingManager struct {
	pointing.Manager
	record *Record
}

func (m countingManager) RestartNoWait(ctx context.Context, unit string) error {
	m.record.restarted()
	return m.Manager.RestartNoWait(ctx, unit)
}

func (m countingManager) Start(ctx context.Context, unit string) error {
	m.record.restarted()
	return m.Manager.Start(ctx, unit)
}

// restarted records a restart of kubelet. A failed write must not prevent the restart, which
// may be the one that heals the node.
func (r *Record) restarted() {
	now := time.Now()
	r.clampTimes(now)
	r.state.Restarts = append(r.state.Restarts, now)
	if err := r.save(); err != nil {
		r.log.WithError(err).Warn("restart of kubelet not recorded")
	}
}

// restarts returns the number of restarts within the last hour.
func (r *Record) restarts() int {
	r.clampTimes(time.Now())
	return len(r.state.Restarts)
}

// mayRestart returns an error if kubelet was restarted too often for another attempt to point
// it. A failed attempt takes two restarts. A repeated attempt begins only if both are left. The
// first one of a release needs one, so that a corrected release need not wait; the restart after
// its failure is never prevented.
func (r *Record) mayRestart(wanted release) error {
	needed, reason := 1, ""
	if f := r.blocking(wanted); f != nil && !f.Next.IsZero() {
		needed, reason = 2, f.Step+": "+f.Reason+"; "
	}
	count := r.restarts()
	if count+needed <= maxRestarts {
		return nil
	}
	next := r.state.Restarts[count+needed-maxRestarts-1].Add(restartsWindow)
	return &heldError{fmt.Sprintf("%sthe agent has restarted kubelet %d times within an hour, and waits until %s for the next attempt", reason, count, next.UTC().Format(time.RFC3339))}
}

// clampTimes forgets restarts that are older than the window. Times in the future, which a clock
// that was set back leaves, become now, so that they age.
func (r *Record) clampTimes(now time.Time) {
	for i, restart := range r.state.Restarts {
		if restart.After(now) {
			r.state.Restarts[i] = now
		}
	}
	r.state.Restarts = slices.DeleteFunc(r.state.Restarts, func(restart time.Time) bool { return now.Sub(restart) >= restartsWindow })
	for i := range r.state.Failures {
		if f := &r.state.Failures[i]; f.Time.After(now) {
			if !f.Next.IsZero() {
				f.Next = now.Add(f.Next.Sub(f.Time))
			}
			f.Time = now
		}
	}
}
