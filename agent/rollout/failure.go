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

// retry is the time of the next attempt after a failure.
type retry int

const (
	atNextLook   retry = iota
	afterBackoff       // the shim was restarted
	afterKubelet       // kubelet was restarted: after a backoff that also delays mending
)

// heldError is the error of an attempt that was not made.
type heldError struct{ reason string }

func (e *heldError) Error() string { return e.reason }

// failed records a failed attempt. A backoff doubles with each failure of this release. Failures
// of other releases are forgotten, except those of the applied one, which the agent may still
// mend.
func (r *Record) failed(wanted release, step string, cause error, next retry) error {
	now, backoff := time.Now(), next != atNextLook
	f := status.Failure{Hash: wanted.hash, Version: wanted.version, Step: step, Reason: cause.Error(), Time: now, Attempts: 1, Kubelet: next == afterKubelet}
	if last := r.failure(wanted); last != nil {
		switch held := !last.Next.IsZero(); {
		case held == backoff:
			f.Attempts += last.Attempts
		case held: // this failure neither shortens nor lengthens the wait
			f.Attempts, f.Next, f.Kubelet = last.Attempts, last.Next, last.Kubelet
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

// fail records the failed attempt of a release with the error err, and returns the error.
func (r *Record) fail(wanted release, err error, next retry) error {
	step, cause := failedStep(err)
	if recordErr := r.failed(wanted, step, cause, next); recordErr != nil {
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

// blocking returns the failure that delays attempts of a release: its own one, or for the
// applied release, that of another one with which kubelet did not work.
func (r *Record) blocking(wanted release) *status.Failure {
	if f := r.failure(wanted); f != nil || !r.isApplied(wanted) {
		return f
	}
	if last := r.lastFailure(); last != nil && last.Kubelet {
		return last
	}
	return nil
}

// forgetOthers forgets the failures of other releases, because this one is desired again.
func (r *Record) forgetOthers(wanted release) {
	r.state.Failures = slices.DeleteFunc(r.state.Failures, func(f status.Failure) bool { return wanted != release{f.Hash, f.Version} })
}

// held returns an error if a failure delays the next attempt of the release.
func (r *Record) held(wanted release) error {
	r.clampTimes(time.Now())
	f := r.blocking(wanted)
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

// refusedError is the error of a configuration that its check or the registry gate refuses.
type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

// refused returns err as a refusedError, or nil.
func refused(err error) error {
	if err == nil {
		return nil
	}
	return &refusedError{err}
}

// stateAfter returns the state after a look with the error err.
func (r *Record) stateAfter(err error) status.State {
	if _, ok := errors.AsType[*refusedError](err); ok {
		return status.Refused
	}
	if last := r.lastFailure(); isHeld(err) || last != nil && time.Now().Before(last.Next) {
		return status.Waiting
	}
	return status.Failed
}
