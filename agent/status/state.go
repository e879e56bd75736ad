package status

import (
	"strings"
	"time"
)

// State is the state of the agent's work on the node.
type State string

// The states.
const (
	Ready    State = "ready"    // the requested configuration is applied, and kubelet uses the shim
	Applying State = "applying" // a step or the first check of the node is in progress
	Refused  State = "refused"  // the check of the configuration or the registry gate has failed
	Waiting  State = "waiting"  // an attempt has failed, and the next one waits for its time
	Failed   State = "failed"   // another failure; the next attempt is at the next check of the node
	Stale    State = "stale"    // the agent has not updated the status for minutes
	Removed  State = "removed"  // the shim is removed
)

// States lists the states.
var States = []State{Ready, Applying, Refused, Waiting, Failed, Stale, Removed}

// StateAt returns the state at the given time: that in the status, or Stale.
func (s Status) StateAt(now time.Time) State {
	switch {
	case s.isStale(now):
		return Stale
	case s.State != "":
		return s.State
	case s.Ready: // written by an agent without states
		return Ready
	}
	return Applying
}

// At returns the status with its state, Ready and Reason as of the given time.
func (s Status) At(now time.Time) Status {
	s.State = s.StateAt(now)
	if err := s.CheckReady(now); err != nil {
		s.Ready, s.Reason = false, err.Error()
	}
	return s
}

// isStale reports whether the status is too old. The clock may have been set back, so that an
// old status seems to be of the future.
func (s Status) isStale(now time.Time) bool {
	age := now.Sub(s.Updated)
	return age > maxAge || age < -maxAge
}

// Explain returns the step in progress, or the failed step, and the reason without its name.
// reason is the result of [Status.CheckReady].
func (s Status) Explain(reason error) (step, text string) {
	text = reason.Error()
	if s.Step != "" || s.Failure == nil {
		return s.Step, text
	}
	if rest, ok := strings.CutPrefix(text, s.Failure.Step+": "); ok {
		return s.Failure.Step, rest
	}
	return "", text
}
