// Package rollout applies a configuration and a version of the shim to the node, watches them,
// and removes the shim. It decides about the order of the steps, and about attempts after a
// failure; the packages service and pointing do the work.
//
// The order is such that a step changes only what the steps before it have proven to work:
//
//	binary -> check -> look-up -> service -> probe -> point kubelet and wait for it
//
// If kubelet uses the shim, the switch of package pointing is armed before the shim is restarted
// with a new release, and disarmed after the probe.
//
// Each step can be repeated. A process that is killed anywhere is followed by one that begins
// with the first step.
package rollout

import (
	"context"
	"os"
	"time"

	"github.com/sirupsen/logrus"

	"image-cri-shim/agent/pointing"
	"image-cri-shim/agent/service"
	"image-cri-shim/config"
	"image-cri-shim/explain"
)

// Service installs and runs the shim. [service.Service] is the implementation.
type Service interface {
	Packaged() bool
	Installed() bool
	InstallBinary(ctx context.Context) error
	Check(ctx context.Context, files service.Files) (*config.Config, error)
	Discard() error
	LookUp(ctx context.Context, settings *config.Config) ([]service.RegistryResult, error)
	NeedsRestart(ctx context.Context, files service.Files) (bool, error)
	Apply(ctx context.Context, files service.Files) (restarted bool, err error)
	Probe(ctx context.Context) error
	Examine(ctx context.Context) (failures []service.Finding, err error)
	Drift(ctx context.Context, files service.Files) ([]string, error)
	Remove(ctx context.Context) error
}

// Clients points kubelet and crictl at the shim. [pointing.Pointing] is the implementation.
// settings is nil if the configuration on the node is missing or invalid.
type Clients interface {
	Drift(ctx context.Context, settings *config.Config) ([]string, error)
	Point(ctx context.Context, settings *config.Config, step func(name string)) error
	Unpoint(ctx context.Context, settings *config.Config, step func(name string)) error
	Resume(ctx context.Context, settings *config.Config) error
	Arm(ctx context.Context, settings *config.Config) error
	Disarm(ctx context.Context) error
	Kubelet(ctx context.Context, settings *config.Config) (pointing.Kubelet, error)
}

// Desired is the configuration and the version of the shim that the node shall have.
type Desired struct {
	Files   service.Files
	Version string
	Merged  bool  // Files have the content of sealos' ConfigMap
	Absent  bool  // sealos' ConfigMap does not exist; Files are those without it
	Err     error // reason why the source of Files can't be used; Files is empty then
}

// Options configures a Rollout.
type Options struct {
	Command string // agent or remove, for the status
	Version string // of the agent
	Service Service
	// Former returns the service of a version that was installed before.
	Former  func(version string) Service
	Clients Clients
	// Settings returns the configuration on the node, or nil if it is missing or invalid.
	Settings func() *config.Config
	// About asks the running shim.
	About  func(ctx context.Context, settings *config.Config) (explain.ShimStatus, error)
	Record *Record
	// Unsupported is the reason why the agent refuses the system of this node; nil: supported.
	// Without a Record, Remove then needs no Service and no Clients.
	Unsupported error
	Status      string // path of the status file

	Gate     Gate
	Jitter   time.Duration // maximum wait before the first restart of kubelet and before the doctor runs
	Interval time.Duration // between two looks
	Source   string        // of a watched configuration, for messages
	// Live keeps Run going after a failure at the start, because a corrected configuration may
	// arrive.
	Live bool
	// Step is called before each step; nil: no call.
	Step func(name string)
	Log  logrus.FieldLogger
}

// Rollout applies, watches and removes the shim on this node. Its methods are not safe for
// concurrent use.
type Rollout struct {
	Options
	report      report
	unwell      unwell
	examination examination
	refusal     refusal
	resumed     bool // whether the work of a killed agent is finished
	deletion    bool // whether the deletion of sealos' ConfigMap was logged
}

// New returns a Rollout.
func New(options Options) *Rollout {
	r := &Rollout{Options: options}
	if r.Step == nil {
		r.Step = func(string) {}
	}
	r.report.status.Command, r.report.status.Version = r.Command, r.Version
	r.report.status.Process = os.Getpid()
	return r
}

// release is a configuration and a version: what failures and successes are recorded for.
type release struct{ hash, version string }

func (d Desired) release() release { return release{d.Files.Hash(), d.Version} }
