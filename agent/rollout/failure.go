package rollout

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"image-cri-shim/agent/status"
)

// The time between two attempts that restart kubelet or the shim: it doubles with each failure.
const (
	minBackoff = 5 * time.Minute
	maxBackoff = time.Hour
)

// heldError is the error of an attempt that was not made.
type heldError struct{ reason string }

func (e *heldError) Error() string { return e.reason }

// failed records a failed attempt. With backoff, the next one is made after a wait that doubles
// with each failure of this release. Failures of other releases are forgotten, except those of
// the applied one, which the agent may still mend.
func (r *Record) failed(wanted release, step string, cause error, backoff bool) error {
	now := time.Now()
	f := status.Failure{Hash: wanted.hash, Version: wanted.version, Step: step, Reason: cause.Error(), Time: now, Attempts: 1}
	if last := r.failure(wanted); last != nil {
		switch held := !last.Next.IsZero(); {
		case held == backoff:
			f.Attempts += last.Attempts
		case held: // this failure neither shortens nor lengthens the wait
			f.Attempts, f.Next = last.Attempts, last.Next
		}
	}
	if backoff {
		f.Next = now.Add(min(maxBackoff, minBackoff<<min(f.Attempts-1, 8)))
	}
	r.state.Failures = slices.DeleteFunc(r.state.Failures, func(other status.Failure) bool {
		of := release{other.Hash, other.Version}
		return of == wanted || !r.isApplied(of)
	})
	r.state.Failures = append(r.state.Failures, f)
	return r.save()
}

// fail records the failed attempt of a release whose error is err, and returns the error.
func (r *Record) fail(wanted release, err error, backoff bool) error {
	step, cause := failedStep(err)
	if recordErr := r.failed(wanted, step, cause, backoff); recordErr != nil {
		return fmt.Errorf("%w; then %w", err, recordErr)
	}
	return err
}

// failure returns the failure of a release, or nil.
func (r *Record) failure(of release) *status.Failure {
	for i := range r.state.Failures {
		if f := &r.state.Failures[i]; of == (release{f.Hash, f.Version}) {
			return f
		}
	}
	return nil
}

// lastFailure returns the failure that was recorded last, or nil.
func (r *Record) lastFailure() *status.Failure {
	if len(r.state.Failures) == 0 {
		return nil
	}
	last := r.state.Failures[len(r.state.Failures)-1]
	return &last
}

// held returns an error if the release failed, and its next attempt is not due yet.
func (r *Record) held(wanted release) error {
	r.clampTimes(time.Now())
	f := r.failure(wanted)
	if f == nil || !time.Now().Before(f.Next) {
		return nil
	}
	return &heldError{fmt.Sprintf("%s: %s; next attempt at %s", f.Step, f.Reason, f.Next.UTC().Format(time.RFC3339))}
}

// isHeld reports whether err is that of an attempt that was not made.
func isHeld(err error) bool {
	_, held := errors.AsType[*heldError](err)
	return held
}
