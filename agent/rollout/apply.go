package rollout

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"image-cri-shim/agent/pointing"
	"image-cri-shim/agent/service"
	"image-cri-shim/config"
	"image-cri-shim/explain"
)

// Time for the restarted shim to answer as the runtime does.
const (
	probeTimeout  = 30 * time.Second
	probeInterval = 500 * time.Millisecond
)

// Apply brings the node to the desired state. After a failure, the node has its last good
// configuration, or kubelet uses the runtime without the shim. Apply of the release that is
// applied mends the node: it does not depend on the registries.
func (r *Rollout) Apply(ctx context.Context, d Desired) error {
	wanted := d.release()
	a := attempt{Rollout: r, desired: d, known: r.Record.isApplied(wanted)}
	if err := a.mayBegin(ctx, wanted); err != nil {
		return err
	}
	if err := r.Record.save(); err != nil { // proves that failures and restarts can be recorded
		return err
	}
	err := a.run(ctx)
	isNew := a.changed && !a.known // the node has the files of a release that is not applied
	switch {
	case err == nil:
		return r.Record.applied(d, reachable(a.registries), !a.known)
	case ctx.Err() != nil:
		return ctx.Err()
	case isHeld(err) && !isNew:
		return err
	}
	next := atNextLook
	switch {
	case a.pointing:
		next = afterKubelet
	case isNew:
		next = afterBackoff
	}
	err = r.Record.fail(wanted, err, next) // before restore, during which the agent may be killed
	if !isNew {
		return err
	}
	if restoreErr := a.restore(ctx); restoreErr != nil {
		err = fmt.Errorf("%w; then %w", err, restoreErr)
	}
	return err
}

// attempt is one attempt to apply a release.
type attempt struct {
	*Rollout
	desired    Desired
	known      bool // the release is the last one that was applied
	settings   *config.Config
	registries []service.RegistryResult
	armed      bool // the switch was armed before the service was changed
	changed    bool // the service was changed
	pointing   bool // kubelet's files were changed
}

func (a *attempt) run(ctx context.Context) error {
	steps := []struct {
		name   string
		action func(context.Context) error
	}{
		{"install the binary", a.Service.InstallBinary},
		{"check the configuration", a.check},
		{"look up the registries", a.lookUp},
		{pointing.StepArm, a.arm},
		{"start the shim", a.start},
		{"probe the shim", a.probe},
		{pointing.StepDisarm, a.disarm},
	}
	for _, step := range steps {
		if err := a.do(ctx, step.name, func() error { return step.action(ctx) }); err != nil {
			return err
		}
	}
	return a.point(ctx)
}

// mayBegin returns an error if a new release must not be applied yet: it failed before, or
// kubelet would have to be restarted too often.
func (a *attempt) mayBegin(ctx context.Context, wanted release) error {
	if a.known {
		return nil
	}
	if err := a.Record.held(wanted); err != nil {
		return err
	}
	if settings := a.Settings(); settings != nil {
		if drift, err := a.Clients.Drift(ctx, settings); err != nil || len(drift) == 0 {
			return nil
		}
	}
	return a.Record.mayRestart(wanted)
}

func (a *attempt) check(ctx context.Context) (err error) {
	a.settings, err = a.Service.Check(ctx, a.desired.Files)
	return refused(err)
}

func (a *attempt) lookUp(ctx context.Context) error {
	if a.known {
		return nil
	}
	return a.discardAfter(ctx, refused(a.gate(ctx)))
}

// discardAfter removes the files that check put in place if a step after it has failed, before
// the service was changed.
func (a *attempt) discardAfter(ctx context.Context, err error) error {
	if err != nil && ctx.Err() == nil {
		err = errors.Join(err, a.Service.Discard())
	}
	return err
}

// arm arms the switch if the shim must be restarted for a release that has not proven to work.
// If the agent or the node ends before the probe, kubelet returns to the runtime.
func (a *attempt) arm(ctx context.Context) error {
	if a.known {
		return nil
	}
	restart, err := a.Service.NeedsRestart(ctx, a.desired.Files)
	if err == nil && restart {
		a.armed = true
		err = a.Clients.Arm(ctx, a.settings)
	}
	return a.discardAfter(ctx, err)
}

func (a *attempt) disarm(ctx context.Context) error {
	if !a.armed {
		return nil
	}
	return a.Clients.Disarm(ctx)
}

func (a *attempt) start(ctx context.Context) error {
	a.changed = true
	restarted, err := a.Service.Apply(ctx, a.desired.Files)
	switch {
	case restarted && a.Record.state.Applied == nil:
		a.Log.Info("shim started")
	case restarted:
		a.Log.Info("shim restarted")
	}
	return err
}

// probe waits until the shim answers as the runtime does, and with this version.
func (a *attempt) probe(ctx context.Context) error {
	return repeat(ctx, func(ctx context.Context) error {
		err := a.Service.Probe(ctx)
		if err == nil {
			var about explain.ShimStatus
			if about, err = a.About(ctx, a.settings); err == nil {
				err = a.checkVersion(about)
			}
		}
		return err
	})
}

// repeat repeats a check until it succeeds, for a limited time.
func repeat(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil || sleep(ctx, probeInterval) != nil {
			return err
		}
	}
}

// point points the clients at the shim. It restarts kubelet only if kubelet does not use the
// shim, and then not too often.
func (a *attempt) point(ctx context.Context) error {
	drift, err := a.Clients.Drift(ctx, a.settings)
	if err != nil {
		return &stepError{"find the files of kubelet and crictl", err}
	}
	if len(drift) == 0 && a.known {
		return nil
	}
	restart := len(drift) > 0
	if !restart { // by hand, or by a former release
		about, err := a.awaitKubelet(ctx)
		restart = err != nil || !hasKubelet(about)
	}
	if restart {
		if err := a.awaitRestart(ctx); err != nil {
			return err
		}
	}
	a.pointing = true
	return a.do(ctx, "point kubelet and crictl", func() error { return a.Clients.Point(ctx, a.settings, a.begin) })
}

// awaitRestart returns an error if kubelet must not be restarted now. On a node that has not
// been pointed before, it waits for a random time, because a first installation begins on all
// nodes of a cluster at once.
func (a *attempt) awaitRestart(ctx context.Context) error {
	wanted := a.desired.release()
	if err := a.Record.held(wanted); err != nil {
		return err
	}
	if err := a.Record.mayRestart(wanted); err != nil {
		return err
	}
	if a.Record.state.Applied != nil || a.Jitter <= 0 {
		return nil
	}
	wait := rand.N(a.Jitter)
	a.Log.WithField("wait", wait.Round(time.Second).String()).Info("waiting before the first restart of kubelet, so that not all nodes restart it at once; a single node needs no jitter")
	return a.do(ctx, fmt.Sprintf("wait %s before the first restart of kubelet", wait.Round(time.Second)), func() error { return a.wait(ctx, wait) })
}

// wait waits for a duration of any length, or until ctx ends, and keeps the status fresh.
func (r *Rollout) wait(ctx context.Context, wait time.Duration) error {
	for ; wait > refreshInterval; wait -= refreshInterval {
		if err := sleep(ctx, refreshInterval); err != nil {
			return err
		}
		r.writeStatus()
	}
	return sleep(ctx, wait)
}

// sleep waits for a duration, or until ctx ends.
func sleep(ctx context.Context, wait time.Duration) error {
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
