package doctor

import (
	"context"
	"slices"
	"sync"
	"time"

	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/registry"
)

// patience bounds what a check waits for, but for registries, which have their
// look-up time-out.
const patience = 3 * time.Second

// Options says what to examine.
type Options struct {
	File      string             // of the configuration
	Settings  *config.Config     // what it says
	Problem   error              // why there are no settings, or why they are of no use
	Explainer *explain.Explainer // goes by the settings
	Version   string             // of this program
	Admin     string             // the socket where the running shim answers its operator
	Files     Files
}

// Files are the configurations of others on the node. All may be missing.
type Files struct {
	Kubelet      []string // kubelet's configuration, then its drop-ins; a later one counts more
	KubeletFlags []string // units and environment files with its flags, which count more; a later one counts more
	Crictl       string
	Kubeadm      []string // patterns
	Containerd   string   // config.toml, for what containerd does not say itself
	Registries   string   // registries.conf of CRI-O; with a folder of that name and .d
	Certificates []string // folders of certs.d that CRI-O looks into
}

// node is what the checks look at. What had to be waited for is there already.
type node struct {
	Options
	runtime  peer
	settings runtimeSettings
	shim     peer
	running  Running // the shim that runs
	notAsked error   // why that is not known
	visits   []registry.Visit
}

// check is one of the checks.
type check func(context.Context, *node) []Finding

// Examine runs all checks. It never takes longer than a few seconds and four times the
// look-up time-out, unless a file hangs.
func Examine(ctx context.Context, options Options) Report {
	n := &node{Options: options}
	findings := configuration(n)
	if n.Problem != nil {
		return newReport(findings)
	}
	n.look(ctx)
	checks := []check{permissions, runtimeSocket, shimSocket, runningShim, kubelet, crictl, kubeadm, sandboxImage, names, registries, stateDirectory, ledger}
	results := make([][]Finding, len(checks))
	var running sync.WaitGroup
	for i, check := range checks {
		running.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, patience+2*n.Settings.LookupTimeout)
			defer cancel()
			results[i] = check(ctx, n)
		})
	}
	running.Wait()
	return newReport(append(findings, slices.Concat(results...)...))
}

// look asks who is asked by more than one check.
func (n *node) look(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() {
		n.runtime = meet(ctx, n.Settings.Runtime)
		n.settings = n.runtime.read(ctx, n.Settings.Runtime)
	})
	running.Go(func() { n.shim = meet(ctx, n.Settings.Shim) })
	running.Go(func() { n.running, n.notAsked = n.askShim(ctx) })
	running.Go(func() { n.visits = n.Explainer.Registries.Visit(ctx) })
	running.Wait()
}
