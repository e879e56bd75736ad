package pointing

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"image-cri-shim/clients"
	"image-cri-shim/config"
)

// Unpoint points all clients back at their former endpoints, and waits until kubelet works
// without the shim. It restarts kubelet only if kubelet uses the shim. settings may be nil if
// the configuration is missing or invalid, and the shim may be stopped. Unpoint calls step
// before each step. It is idempotent: called again after it was killed, it continues.
func (p *Pointing) Unpoint(ctx context.Context, settings *config.Config, step func(name string)) error {
	settings = p.orInstalled(settings)
	node, err := p.node(ctx, settings)
	if node == nil {
		return fmt.Errorf("point the clients back: nothing was changed: %w", err)
	}
	// Without a runtime, only endpoints without a copy of the former one can't be restored.
	changes, err := node.Uninstall()
	if err != nil {
		return fmt.Errorf("point the clients back: nothing was changed: %w", err)
	}
	r, err := p.running(node, settings)
	if err != nil {
		p.log.WithError(err).Warn("kubelet's healthz endpoint is not checked")
	}
	sockets, err := p.sockets()
	if err != nil {
		return err
	}
	s := p.newSwitch(node)
	restart := needRestart(node, changes) || s.isArmed() || r.staysConnected(ctx)
	if err := p.pointBack(ctx, s, r, changes, restart, step); err != nil {
		return fmt.Errorf("point the clients back: %w", err)
	}
	if restart || len(sockets) > 0 {
		step(StepAwait)
		if err := r.awaitWithout(ctx); err != nil {
			return fmt.Errorf("point the clients back: %w", err)
		}
	}
	return p.deleteRecord()
}

// pointBack applies the changes. If kubelet must be restarted, the switch does both, which also
// ends its work if the agent is killed. If that can't be armed, as without the shim's binary, the
// agent does both.
func (p *Pointing) pointBack(ctx context.Context, s *revertSwitch, r *running, changes []clients.Change, restart bool, step func(name string)) error {
	err := p.checkBinary()
	if restart && err == nil {
		step(StepArm)
		err = s.arm(ctx)
		if err != nil && ctx.Err() == nil {
			_, disarmErr := s.disarm(ctx)
			err = errors.Join(err, disarmErr)
		}
		if ctx.Err() != nil {
			return err
		}
	}
	switch {
	case restart && err == nil:
		step(StepRevert)
		ctx, cancel := context.WithTimeout(ctx, p.times.revert)
		defer cancel()
		if err := s.act(ctx); err != nil {
			return err
		}
	case restart:
		p.log.WithError(err).Warn("the clients are pointed back without the switch")
		step(StepRevert)
		if err := clients.ApplyAll(changes); err != nil {
			return err
		}
		if err := p.units.RestartNoWait(ctx, r.unit); err != nil {
			return err
		}
	default:
		if slices.ContainsFunc(changes, func(c clients.Change) bool { return c.Changed() }) {
			step(StepEdit)
		}
		if err := clients.ApplyAll(changes); err != nil { // also removes what a killed agent has left
			return err
		}
	}
	for _, change := range changes {
		if change.Problem != nil {
			p.log.WithError(change.Problem).Warn("crictl's file was not changed")
		}
	}
	if !s.hasFiles() {
		return nil
	}
	step(StepDisarm)
	_, err = s.disarm(ctx)
	return err
}
