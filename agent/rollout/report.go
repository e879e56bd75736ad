package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"image-cri-shim/agent/status"
	"image-cri-shim/explain"
)

// report is the progress that the status file shows.
type report struct {
	status status.Status
	last   status.State // after the last look; empty before
	began  time.Time    // of the step in progress
	outer  string       // step that consists of other steps
}

// do runs one step. It does not begin a step after ctx has ended.
func (r *Rollout) do(ctx context.Context, step string, action func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.begin(step)
	r.report.outer = step
	return r.end(ctx, action())
}

// begin begins a step, and ends the step before it, unless the new one is a part of that.
func (r *Rollout) begin(step string) {
	if former := r.report.status.Step; former != "" && former != r.report.outer {
		_ = r.end(context.Background(), nil)
	}
	r.report.status.Step, r.report.began = step, time.Now()
	r.writeStatus()
	r.Step(step)
}

// end logs the end of the step in progress, and adds its name to err.
func (r *Rollout) end(ctx context.Context, err error) error {
	step := r.report.status.Step
	r.report.status.Step, r.report.outer = "", ""
	log := r.Log.WithField("step", step).WithField("took", time.Since(r.report.began).Round(time.Millisecond).String())
	switch {
	case err == nil:
		log.Info("step finished")
		return nil
	case ctx.Err() != nil:
		log.Info("step interrupted")
		return ctx.Err()
	case !isHeld(err):
		log.WithError(err).Error("step failed")
	}
	return &stepError{step, err}
}

// stepError is the error of a step.
type stepError struct {
	step  string
	cause error
}

func (e *stepError) Error() string { return e.step + ": " + e.cause.Error() }
func (e *stepError) Unwrap() error { return e.cause }

// failedStep returns the name of the step that failed, and its cause.
func failedStep(err error) (step string, cause error) {
	if failed, ok := errors.AsType[*stepError](err); ok {
		return failed.step, failed.cause
	}
	return "record the result", err
}

// finish writes the status after a look with its result.
func (r *Rollout) finish(err error) {
	s := &r.report.status
	if err == nil && !s.Ready && !s.Removed {
		r.Log.WithFields(logrus.Fields{"version": s.Version, "configuration": status.Short(s.Hash)}).Info("node is ready")
	}
	s.Ready, s.Reason = err == nil, ""
	if err != nil {
		s.Reason = err.Error()
		r.report.last = r.Record.stateAfter(err)
	}
	r.writeStatus()
}

// state returns the state for the status.
func (r *Rollout) state() status.State {
	s := &r.report.status
	switch {
	case s.Removed:
		return status.Removed
	case s.Ready:
		return status.Ready
	case s.Step != "" || r.report.last == "":
		return status.Applying
	}
	return r.report.last
}

// writeStatus writes the status file. A failure is logged: the probe then finds a stale status.
func (r *Rollout) writeStatus() {
	s := &r.report.status
	s.Updated = time.Now()
	s.KubeletRestarts = r.Record.restarts()
	s.Applied, s.Drift, s.Failure = r.Record.state.Applied, r.Record.state.Drift, r.Record.lastFailure()
	s.LookUp, s.State = r.Record.state.LookUp, r.state()
	if err := status.Write(r.Status, *s); err != nil {
		r.Log.WithError(err).Warn("status not written")
	}
}

// connectTimeout is the time for kubelet to connect to a shim that was restarted.
const connectTimeout = 15 * time.Second

// verify returns an error unless the running shim has the right version and kubelet is
// connected through it. It waits for kubelet, which connects again after a restart of the shim.
func (r *Rollout) verify(ctx context.Context) error {
	s := &r.report.status
	s.Serving, s.KubeletConnected = "", false
	about, err := r.awaitKubelet(ctx)
	if err != nil {
		return err
	}
	s.Serving, s.KubeletConnected = about.Version, hasKubelet(about)
	switch {
	case r.checkVersion(about) != nil:
		return r.checkVersion(about)
	case about.Refused != "":
		return refused(fmt.Errorf("the running shim has refused its configuration: %s", about.Refused))
	case !s.KubeletConnected:
		return errors.New("kubelet is not connected through the shim, although its files name the shim's socket: restart kubelet")
	}
	return nil
}

// awaitKubelet asks the running shim until kubelet is connected, for a limited time.
func (r *Rollout) awaitKubelet(ctx context.Context) (about explain.ShimStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	for {
		about, err = r.About(ctx, r.Settings())
		if err != nil || hasKubelet(about) || sleep(ctx, probeInterval) != nil {
			return about, err
		}
	}
}

// checkVersion returns an error unless the running shim has this version. A shim of a package
// has its own.
func (r *Rollout) checkVersion(about explain.ShimStatus) error {
	if about.Version != r.Version && !r.Service.Packaged() {
		return fmt.Errorf("the running shim is version %s, want %s", about.Version, r.Version)
	}
	return nil
}

// hasKubelet reports whether kubelet is connected to the shim.
func hasKubelet(about explain.ShimStatus) bool {
	return slices.ContainsFunc(about.Clients, explain.ShimClient.IsKubelet)
}
