// Package pointing points the clients of a node, kubelet and crictl, at the shim and back, and
// restarts kubelet. A switch of systemd units reverts the node if the agent can't.
package pointing

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"

	"image-cri-shim/config"
)

// Manager starts, stops and enables systemd units.
type Manager interface {
	Reload(ctx context.Context) error
	Enable(ctx context.Context, units ...string) error
	Disable(ctx context.Context, units ...string) error
	Start(ctx context.Context, unit string) error
	Stop(ctx context.Context, unit string) error
	RestartNoWait(ctx context.Context, unit string) error
}

// Pointing points the clients of this node.
type Pointing struct {
	units  Manager
	binary string
	log    logrus.FieldLogger
}

// New returns the Pointing of this node. binary is the path of the shim's binary, which the
// switch runs.
func New(units Manager, binary string, log logrus.FieldLogger) *Pointing {
	return &Pointing{units: units, binary: binary, log: log}
}

// Pointed reports whether all clients use the shim.
func (p *Pointing) Pointed(ctx context.Context, settings *config.Config) (bool, error) {
	return false, errors.ErrUnsupported
}

// Point points all clients at the shim and restarts kubelet.
func (p *Pointing) Point(ctx context.Context, settings *config.Config, step func(name string)) error {
	return errors.ErrUnsupported
}

// Unpoint points all clients back at their former endpoints and restarts kubelet. settings may
// be nil if the configuration is missing or invalid.
func (p *Pointing) Unpoint(ctx context.Context, settings *config.Config, step func(name string)) error {
	return errors.ErrUnsupported
}

// Resume completes or reverts the work of an agent that was killed. It must be called at the
// start of the agent.
func (p *Pointing) Resume(ctx context.Context, settings *config.Config) error {
	return errors.ErrUnsupported
}
