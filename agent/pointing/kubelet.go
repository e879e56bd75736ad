package pointing

import (
	"context"
	"fmt"

	"image-cri-shim/config"
)

// Kubelet is the state of kubelet.
type Kubelet struct {
	Unit    string // name
	Active  string // state of the unit: active, inactive, failed, activating, ...
	Process int    // ID; 0: none
	Healthz error  // nil if kubelet says that it is well, or if its healthz endpoint is disabled
	Pointed bool   // a file of kubelet or crictl names the shim's socket
}

// Kubelet returns the state of kubelet. settings may be nil, as for [Pointing.Unpoint].
func (p *Pointing) Kubelet(ctx context.Context, settings *config.Config) (Kubelet, error) {
	node, err := p.node(ctx, settings)
	if node == nil {
		return Kubelet{}, fmt.Errorf("read the state of kubelet: %w", err)
	}
	places, _ := node.ShimEndpoints() // those in the files that can be read
	k := Kubelet{Unit: unitName(node.KubeletUnit()), Pointed: len(places) > 0}
	unit, err := p.units.Unit(ctx, k.Unit)
	if err != nil {
		return k, fmt.Errorf("read the state of kubelet: %w", err)
	}
	k.Active, k.Process = unit.Active, unit.MainPID
	url, err := healthzURL(node)
	if err == nil {
		err = checkHealthz(ctx, url)
	}
	k.Healthz = err
	return k, nil
}
