package pointing

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"image-cri-shim/config"
)

// Arm arms the switch before a restart of the shim with another release, if a client is pointed
// at the shim. If the new shim does not serve and the agent can't go on, kubelet then returns to
// the runtime. settings is the configuration that the shim will have. The switch needs the
// binary until [Pointing.Disarm] or [Pointing.Unpoint]. Arm of an armed switch starts its time
// again.
func (p *Pointing) Arm(ctx context.Context, settings *config.Config) error {
	node, err := p.node(ctx, settings)
	if node == nil {
		return fmt.Errorf("arm the switch: %w", err)
	}
	// While the configuration is replaced, the switch may find the former or the new one.
	node.FormerShims = append(node.FormerShims, p.orInstalled(nil).Shim)
	places, err := node.ShimEndpoints()
	if err == nil && len(places) == 0 {
		return nil
	}
	if err := errors.Join(p.checkBinary(), p.checkUnit(ctx, unitName(node.KubeletUnit()))); err != nil {
		return fmt.Errorf("arm the switch: %w", err)
	}
	s := p.newSwitch(node)
	s.former = nil
	for _, socket := range append([]string{node.Shim}, node.FormerShims...) {
		if !slices.Contains(s.former, socket) {
			s.former = append(s.former, socket)
		}
	}
	if err := s.arm(ctx); err != nil {
		_, disarmErr := s.disarm(ctx)
		return errors.Join(err, disarmErr)
	}
	return nil
}

// Disarm disarms the switch. It returns [ErrReverted] if the switch has acted.
func (p *Pointing) Disarm(ctx context.Context) error {
	s := &revertSwitch{units: p.units, root: p.root}
	if !s.hasFiles() {
		return nil
	}
	acted, err := s.disarm(ctx)
	if err == nil && acted {
		err = ErrReverted
	}
	return err
}
