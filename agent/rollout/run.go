package rollout

import (
	"context"
	"fmt"
	"time"
)

// Times of a watched configuration.
const (
	arrival     = 5 * time.Second // limit of the wait for its first content
	changeShare = 10              // a change is applied after a random time up to this fraction of Jitter

	refreshInterval = time.Minute // of the status in a long wait, so that it does not become stale
)

// Run applies what arrives on desired, and looks at the node after each interval to mend it. It
// returns nil after ctx has ended. A failure of the first look is an error, unless Live is set:
// later ones are reported in the status.
func (r *Rollout) Run(ctx context.Context, desired <-chan Desired) error {
	if !r.Live {
		select {
		case d := <-desired:
			if err := r.look(ctx, &d); err != nil || ctx.Err() != nil {
				return unlessEnded(ctx, err)
			}
			r.examine(ctx)
			return r.watch(ctx, &d, desired)
		case <-ctx.Done():
			return nil
		}
	}
	return r.watch(ctx, nil, desired)
}

// watch looks at the node after each interval and after each change of desired. current may be
// nil if nothing has arrived yet.
func (r *Rollout) watch(ctx context.Context, current *Desired, desired <-chan Desired) error {
	if current == nil { // the content of the watched object usually arrives at once
		select {
		case d, open := <-desired:
			if current = &d; !open {
				current, desired = nil, nil
			}
		case <-time.After(arrival):
		case <-ctx.Done():
			return nil
		}
		_ = r.look(ctx, current)
		r.examine(ctx)
	}
	for ctx.Err() == nil {
		select {
		case <-time.After(r.untilExamination()):
		case d, open := <-desired:
			if !open {
				desired = nil // ctx ends
				continue
			}
			if current != nil {
				d = r.newest(ctx, d, desired, upTo(r.Jitter/changeShare))
			}
			current = &d
		case <-ctx.Done():
			return nil
		}
		_ = r.look(ctx, current)
		r.examine(ctx)
	}
	return nil
}

// newest waits, and returns the last value that has arrived until then.
func (r *Rollout) newest(ctx context.Context, last Desired, desired <-chan Desired, wait time.Duration) Desired {
	deadline := time.After(wait)
	refresh := time.NewTicker(refreshInterval)
	defer refresh.Stop()
	for {
		select {
		case d, open := <-desired:
			if !open {
				desired = nil
				continue
			}
			last = d
		case <-refresh.C:
			r.writeStatus()
		case <-deadline:
			return last
		case <-ctx.Done():
			return last
		}
	}
}

func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// noConfiguration returns the error of an agent that watches an object that does not exist.
func (r *Rollout) noConfiguration() error {
	return fmt.Errorf("no configuration has arrived: does %s exist, and may the agent read it?", r.Source)
}

// look applies d, or mends the node, and writes the status. Without d, it mends the last good
// configuration.
func (r *Rollout) look(ctx context.Context, d *Desired) error {
	d = r.withoutDeletion(d)
	if d != nil && d.Err == nil {
		r.report.status.Hash = d.Files.Hash()
	}
	err := r.lookAt(ctx, d)
	if ctx.Err() == nil && r.Record.Exists() {
		if rescueErr := r.rescue(ctx, d); rescueErr != nil {
			err = rescueErr
		}
	}
	if ctx.Err() != nil {
		return ctx.Err() // the status of an agent that ends is not updated
	}
	if err != nil {
		r.Log.WithError(err).Error("the node does not have the requested state")
	}
	r.finish(err)
	return err
}

// withoutDeletion returns d, or after the deletion of sealos' ConfigMap, the last configuration
// with its content, as sealos keeps it. A node that never had the ConfigMap has the files of d.
func (r *Rollout) withoutDeletion(d *Desired) *Desired {
	if d == nil || !d.Absent || !r.Record.state.Merged {
		r.deletion = false
		return d
	}
	if !r.deletion {
		r.Log.Warn("sealos' ConfigMap was deleted, keeping the last configuration with its content")
	}
	r.deletion = true
	return &Desired{Files: r.Record.state.Files, Version: d.Version, Merged: true}
}

func (r *Rollout) lookAt(ctx context.Context, d *Desired) error {
	if err := r.resume(ctx, d); err != nil {
		return err
	}
	err := r.noConfiguration()
	switch {
	case d != nil && d.Err != nil:
		err = refused(d.Err)
	case d != nil:
		if r.Record.isApplied(d.release()) {
			r.Record.forgetOthers(d.release())
			r.Record.state.Merged = d.Merged // is saved with the next change
			return r.mend(ctx, *d)
		}
		if err = r.Apply(ctx, *d); err == nil {
			return r.verify(ctx)
		}
	}
	if good, ok := r.Record.lastGood(r.Version); ok && ctx.Err() == nil {
		if mendErr := r.mend(ctx, good); mendErr != nil {
			return fmt.Errorf("%w; then the last good configuration: %w", err, mendErr)
		}
	}
	return err
}

// resume finishes the work of an agent that was killed while it pointed kubelet. The switch that
// may do that needs the binary.
func (r *Rollout) resume(ctx context.Context, d *Desired) error {
	if r.resumed || !r.Record.Exists() {
		return nil
	}
	next := atNextLook
	err := r.do(ctx, "install the binary", func() error { return r.Service.InstallBinary(ctx) })
	if err == nil {
		next = afterKubelet
		err = r.do(ctx, "look for unfinished work of a former agent", func() error { return r.Clients.Resume(ctx, r.Settings()) })
	}
	if r.resumed = err == nil; r.resumed || ctx.Err() != nil {
		return err
	}
	return r.Record.fail(r.wanted(d), err, next)
}

// wanted returns the release of d, or without one, the last good release.
func (r *Rollout) wanted(d *Desired) release {
	if d != nil && d.Err == nil {
		return d.release()
	}
	good, ok := r.Record.lastGood(r.Version)
	if !ok {
		return release{}
	}
	return good.release()
}

// mend applies the applied release again if the node differs from it.
func (r *Rollout) mend(ctx context.Context, d Desired) error {
	found, err := r.drift(ctx, d)
	if err != nil {
		return fmt.Errorf("look for changes of the node: %w", err)
	}
	if len(found) > 0 {
		for _, difference := range found {
			r.Log.WithField("drift", difference).Warn("node differs from the applied configuration")
		}
		if err := r.Apply(ctx, d); err != nil {
			return err
		}
		if err := r.Record.mended(found); err != nil {
			return err
		}
	}
	return r.verify(ctx)
}

func (r *Rollout) drift(ctx context.Context, d Desired) ([]string, error) {
	found, err := r.Service.Drift(ctx, d.Files)
	if err != nil {
		return nil, err
	}
	settings := r.Settings()
	if settings == nil {
		return append(found, "the configuration on the node is missing or invalid"), nil
	}
	pointed, err := r.Clients.Drift(ctx, settings)
	if err != nil {
		return nil, err
	}
	found = append(found, pointed...)
	if _, err := r.About(ctx, settings); err != nil && len(found) == 0 {
		found = append(found, "the shim does not answer: "+err.Error())
	}
	return found, nil
}
