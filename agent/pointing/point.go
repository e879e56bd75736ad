package pointing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"image-cri-shim/admin"
	"image-cri-shim/clients"
	"image-cri-shim/config"
	"image-cri-shim/unixsocket"
)

// ErrReverted is returned after the switch has acted without the agent: the agent took longer
// than the switch's time, or the node was restarted.
var ErrReverted = errors.New("the agent did not confirm in time that kubelet works through the shim, so " + revertService + " has pointed the clients back")

// Point points all clients at the shim, restarts kubelet, and waits until it works through the
// shim. If it does not, Point points all clients back, restarts kubelet once more, and returns
// the reason. A kubelet that already works through the shim is not restarted unless one of its
// files changes. Point calls step before each step. When ctx ends in between, the switch stays
// armed, and Resume continues.
func (p *Pointing) Point(ctx context.Context, settings *config.Config, step func(name string)) error {
	node, changes, err := p.plan(ctx, settings)
	if err != nil {
		return fmt.Errorf("point the clients at the shim: nothing was changed: %w", err)
	}
	r, err := p.running(node, settings)
	if err != nil {
		return fmt.Errorf("point the clients at the shim: nothing was changed: %w", err)
	}
	former, err := r.connected(ctx)
	if err != nil {
		return p.giveUp(ctx, node, step, fmt.Errorf("the shim does not say which kubelet is connected: %w", err))
	}
	restart := needRestart(node, changes) || !r.isConnected(ctx)
	if !restart {
		former = nil
	}
	s := p.newSwitch(node)
	if !restart && !s.hasFiles() {
		return p.editOnly(settings, changes, step)
	}
	step(StepArm)
	if err := errors.Join(p.checkBinary(), p.checkUnit(ctx, r.unit)); err != nil {
		return fmt.Errorf("point the clients at the shim: nothing was changed: %w", err)
	}
	if err := p.recordAlso(settings.Shim); err != nil {
		return err
	}
	if err := s.arm(ctx); err != nil {
		return p.giveUp(ctx, node, step, err)
	}
	step(StepEdit)
	if err := clients.ApplyAll(changes); err != nil {
		return p.giveUp(ctx, node, step, err)
	}
	if restart {
		step(StepRestart)
	}
	if !s.isArmed() {
		return p.revert(ctx, node, step, ErrReverted)
	}
	if restart {
		if err := p.units.RestartNoWait(ctx, r.unit); err != nil {
			return p.revert(ctx, node, step, err)
		}
	}
	step(StepAwait)
	if err := r.awaitThrough(ctx, former); err != nil {
		return p.revert(ctx, node, step, err)
	}
	step(StepDisarm)
	acted, err := s.disarm(ctx)
	if err != nil {
		return err
	}
	if acted {
		return ErrReverted
	}
	return p.record(settings.Shim)
}

// editOnly applies changes that need no restart of kubelet.
func (p *Pointing) editOnly(settings *config.Config, changes []clients.Change, step func(name string)) error {
	if err := p.recordAlso(settings.Shim); err != nil {
		return err
	}
	if slices.ContainsFunc(changes, func(c clients.Change) bool { return c.Changed() }) {
		step(StepEdit)
		if err := clients.ApplyAll(changes); err != nil {
			return fmt.Errorf("point the clients at the shim: %w", err)
		}
	}
	return p.record(settings.Shim)
}

// giveUp returns the cause. Clients that an agent pointed at the shim before it was killed are
// pointed back.
func (p *Pointing) giveUp(ctx context.Context, node *clients.Node, step func(name string), cause error) error {
	s := p.newSwitch(node)
	if !s.hasFiles() {
		return fmt.Errorf("point the clients at the shim: nothing was changed: %w", cause)
	}
	if places, err := node.ShimEndpoints(); err != nil || len(places) > 0 {
		return p.revert(ctx, node, step, cause)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.times.revert)
	defer cancel()
	_, err := s.disarm(ctx)
	return errors.Join(fmt.Errorf("point the clients at the shim: nothing was changed: %w", cause), err)
}

// revert points the clients back and restarts kubelet by the switch, which also ends its work
// if the agent is killed. If ctx has ended, revert does nothing: the switch is armed, and the
// next agent continues.
func (p *Pointing) revert(ctx context.Context, node *clients.Node, step func(name string), cause error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("point the clients at the shim: interrupted, and %s points them back unless the agent continues: %w", revertTimer, cause)
	}
	s := p.newSwitch(node)
	if places, err := node.ShimEndpoints(); err == nil && len(places) == 0 && s.hasActed() {
		_, err := s.disarm(ctx)
		return errors.Join(ErrReverted, err)
	}
	step(StepRevert)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.times.revert)
	defer cancel()
	err := s.arm(ctx) // it may have acted meanwhile
	if err == nil {
		err = s.act(ctx)
	}
	if err == nil {
		_, err = s.disarm(ctx)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("point the clients at the shim: %w", cause), fmt.Errorf("point them back: %w", err))
	}
	return fmt.Errorf("point the clients at the shim: the files were restored, and %s was restarted again: %w", node.KubeletUnit(), cause)
}

// Resume continues after an agent that was killed: if the switch is armed, it does the rest of
// Point, and without settings, of Unpoint. It returns [ErrReverted] if the switch has acted.
// An agent must call it once at its start.
func (p *Pointing) Resume(ctx context.Context, settings *config.Config) error {
	node, err := p.node(ctx, settings)
	if node == nil {
		return err
	}
	s := p.newSwitch(node)
	if !s.hasFiles() {
		return nil
	}
	logStep := func(name string) { p.log.WithField("step", name).Info("continuing after an agent that was stopped") }
	acting, err := s.isActing(ctx)
	switch {
	case err != nil:
		return err
	case acting || s.hasActed():
		if _, err := s.disarm(ctx); err != nil {
			return err
		}
		return ErrReverted
	case !s.isArmed():
		_, err := s.disarm(ctx)
		return err
	case settings == nil:
		return p.Unpoint(ctx, nil, logStep)
	}
	return p.Point(ctx, settings, logStep)
}

// newSwitch returns the switch of this node.
func (p *Pointing) newSwitch(node *clients.Node) *revertSwitch {
	s := &revertSwitch{units: p.units, root: p.root, binary: p.binary, kubelet: unitName(node.KubeletUnit()), after: switchTime}
	if len(node.Distributions) > 0 {
		s.after = switchTimeOfDistribution
	}
	installed, err := config.Load(p.path(config.DefaultFile))
	for _, socket := range append([]string{node.Shim}, node.FormerShims...) {
		if err != nil || !unixsocket.Same(socket, installed.Shim) && !slices.Contains(s.former, socket) {
			s.former = append(s.former, socket)
		}
	}
	return s
}

// running returns the kubelet of this node.
func (p *Pointing) running(node *clients.Node, settings *config.Config) (*running, error) {
	healthz, err := healthzURL(node)
	times := p.times
	if len(node.Distributions) > 0 {
		times.kubelet = times.distribution
	}
	return &running{units: p.units, unit: unitName(node.KubeletUnit()), admin: admin.Socket(settings.StateDirectory), healthz: healthz, acted: p.newSwitch(node).hasActed, times: times}, err
}

// checkUnit returns an error if kubelet's unit can't be restarted.
func (p *Pointing) checkUnit(ctx context.Context, name string) error {
	unit, err := p.units.Unit(ctx, name)
	if err == nil && unit.Load != "loaded" {
		err = fmt.Errorf("%s is %s: kubelet can't be restarted", name, unit.Load)
	}
	return err
}

// unitName returns the full name of a service.
func unitName(name string) string {
	return strings.TrimSuffix(name, ".service") + ".service"
}
