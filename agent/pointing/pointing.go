// Package pointing points the clients of a node, kubelet and crictl, at the shim and back, and
// restarts kubelet.
//
// If kubelet fails, the node can't run the pod of the agent either. [Pointing.Point] therefore
// arms a switch before it edits a file: systemd units that point the clients back and restart
// kubelet after a time, and at boot, without the agent. Point disarms the switch once the new
// kubelet works through the shim. If it does not work, Point lets the switch act at once.
// A restart of the shim with a new release needs the switch too: see [Pointing.Arm].
// The agent may be killed at any point; [Pointing.Resume] continues from the state of the
// units.
package pointing

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"image-cri-shim/admin"
	"image-cri-shim/agent/systemd"
	"image-cri-shim/clients"
	"image-cri-shim/config"
	"image-cri-shim/doctor"
	"image-cri-shim/explain"
	"image-cri-shim/unixsocket"
)

// Manager controls systemd units. [systemd.Manager] implements it.
type Manager interface {
	Reload(ctx context.Context) error
	Enable(ctx context.Context, units ...string) error
	Disable(ctx context.Context, units ...string) error
	Start(ctx context.Context, unit string) error
	Stop(ctx context.Context, unit string) error
	Restart(ctx context.Context, unit string) error
	RestartNoWait(ctx context.Context, unit string) error
	ResetFailed(ctx context.Context, units ...string) error
	Unit(ctx context.Context, unit string) (systemd.Unit, error)
}

// The steps of [Pointing.Point] and [Pointing.Unpoint], in the order of Point. StepRestart and
// StepRevert restart kubelet.
const (
	StepArm     = "arm the switch"
	StepEdit    = "edit the files of the clients"
	StepRestart = "restart kubelet"
	StepAwait   = "wait for kubelet"
	StepRevert  = "point the clients back and restart kubelet"
	StepDisarm  = "disarm the switch"
)

// Pointing points the clients of this node.
type Pointing struct {
	units  Manager
	root   string // folder of the node's files
	binary string
	log    logrus.FieldLogger
	times  times

	crictlProblem string // that was logged last
}

// times are the durations of waiting.
type times struct {
	kubelet time.Duration // until kubelet works after its restart
	// distribution replaces kubelet if its unit also runs the runtime, and perhaps a control plane.
	distribution time.Duration
	settle       time.Duration // for which kubelet must keep working
	connect      time.Duration // until a kubelet that is not restarted has connected to a new shim
	revert       time.Duration // until the switch has acted
}

// New returns the Pointing of this node. binary is the path of the shim's binary, which the
// switch runs.
func New(units Manager, binary string, log logrus.FieldLogger) *Pointing {
	return &Pointing{units: units, root: "/", binary: binary, log: log,
		times: times{kubelet: time.Minute, distribution: 3 * time.Minute, settle: 3 * time.Second, connect: 15 * time.Second, revert: 90 * time.Second}}
}

// path returns the path of a file of the node.
func (p *Pointing) path(file string) string { return filepath.Join(p.root, file) }

// Pointed reports whether the files of all clients name the shim's socket.
func (p *Pointing) Pointed(ctx context.Context, settings *config.Config) (bool, error) {
	drift, err := p.Drift(ctx, settings)
	return err == nil && len(drift) == 0, err
}

// Drift returns the files of clients that do not name the shim's socket, for display.
func (p *Pointing) Drift(ctx context.Context, settings *config.Config) ([]string, error) {
	_, changes, err := p.plan(ctx, settings)
	if err != nil {
		return nil, fmt.Errorf("compare the clients' files: %w", err)
	}
	var drift []string
	for _, change := range changes {
		if change.Changed() {
			drift = append(drift, change.Path+" does not point at the shim")
		}
	}
	return drift, nil
}

// plan returns the changes that point all clients at the shim.
func (p *Pointing) plan(ctx context.Context, settings *config.Config) (*clients.Node, []clients.Change, error) {
	node, err := p.node(ctx, settings)
	if err != nil {
		return nil, nil, err
	}
	changes, err := p.install(node)
	if err == nil && !slices.ContainsFunc(changes, func(c clients.Change) bool { return !c.Missing && c.Path != node.Crictl }) {
		err = fmt.Errorf("no file of kubelet was found, looked for %s, kubelet's flags, and the files of %s", node.Kubelet, clients.DistributionNames)
	}
	return node, changes, err
}

// install plans the changes. On a node that was pointed before, a problem with crictl's file does
// not prevent those of kubelet's files.
func (p *Pointing) install(node *clients.Node) ([]clients.Change, error) {
	changes, err := node.Install()
	if err == nil {
		p.crictlProblem = ""
		return changes, nil
	}
	sockets, recordErr := p.sockets()
	if recordErr != nil || len(sockets) == 0 {
		return nil, err
	}
	kubelet := *node
	kubelet.Crictl = ""
	changes, kubeletErr := kubelet.Install()
	if kubeletErr != nil {
		return nil, err
	}
	if text := err.Error(); text != p.crictlProblem {
		p.log.WithError(err).Warn("crictl's file is not changed")
		p.crictlProblem = text
	}
	return changes, nil
}

// node returns the clients of this node. Without settings, the sockets are those of the
// configuration file, even of an invalid one.
func (p *Pointing) node(ctx context.Context, settings *config.Config) (*clients.Node, error) {
	settings = p.orInstalled(settings)
	former, err := p.sockets()
	if err != nil {
		return nil, err
	}
	node := clients.DefaultPaths(p.root).Node()
	node.CreateCrictl = doctor.HasProgram("crictl")
	node.Shim, node.Runtime, node.SameSocket = settings.Shim, settings.Runtime, unixsocket.Same
	if node.Runtime == "" {
		node.Runtime, err = findRuntime(ctx, settings)
	}
	node.FormerShims = slices.DeleteFunc(former, func(socket string) bool { return unixsocket.Same(socket, node.Runtime) })
	return node, err
}

// orInstalled returns settings, or otherwise those that can be read from the configuration
// file.
func (p *Pointing) orInstalled(settings *config.Config) *config.Config {
	if settings != nil {
		return settings
	}
	file := p.path(config.DefaultFile)
	if settings, err := config.Load(file); err == nil {
		return settings
	}
	return &config.Config{Shim: config.ShimSocket(file), StateDirectory: config.StateDirectory(file)}
}

// findRuntime returns the runtime's socket for a configuration without cri: that of the running
// shim, or otherwise the one that answers on this node.
func findRuntime(ctx context.Context, settings *config.Config) (string, error) {
	timeout, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var status explain.ShimStatus
	if err := admin.Get(timeout, admin.Socket(settings.StateDirectory), admin.AboutPath, nil, &status); err == nil && status.Runtime != "" {
		return status.Runtime, nil
	}
	return config.DetectRuntime(ctx)
}

// needRestart reports whether one of the changes is in a file that the running kubelet reads.
func needRestart(node *clients.Node, changes []clients.Change) bool {
	return slices.ContainsFunc(changes, func(c clients.Change) bool {
		return c.Changed() && c.Path != node.Crictl && c.Path != node.KubeletInstance
	})
}

// checkBinary returns an error if the switch can't run the shim's binary.
func (p *Pointing) checkBinary() error {
	info, err := os.Stat(p.path(p.binary))
	if err == nil && (!info.Mode().IsRegular() || info.Mode()&0o111 == 0) {
		err = errors.New("is not an executable file")
	}
	if err != nil {
		return fmt.Errorf("the binary of the shim, %s: %w", p.binary, err)
	}
	return nil
}
