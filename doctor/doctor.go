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

// checkTimeout bounds each wait of a check, except for registries, which have their own
// lookup timeout.
const checkTimeout = 3 * time.Second

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

// node is the state that the checks examine. gather fills in the parts that several
// checks need.
type node struct {
	Options
	runtime         criServer
	runtimeSettings runtimeSettings
	shim            criServer
	shimStatus      ShimStatus // of the running shim
	shimStatusErr   error      // set if shimStatus is unknown
	probes          []registry.Probe
}

// check is one of the checks.
type check func(context.Context, *node) []Finding

// Examine runs all checks. It never takes longer than a few seconds and four times the
// look-up time-out, unless a file hangs.
func Examine(ctx context.Context, options Options) Report {
	n := &node{Options: options}
	findings := checkConfiguration(n)
	if n.Problem != nil {
		return newReport(findings)
	}
	n.gather(ctx)
	checks := []check{checkPermissions, checkRuntime, checkShimSocket, checkRunningShim, checkKubelet, checkCrictl, checkKubeadm, checkSandboxImage, checkNames, checkRegistries, checkStateDirectory, checkLedger}
	results := make([][]Finding, len(checks))
	var running sync.WaitGroup
	for i, check := range checks {
		running.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, checkTimeout+2*n.Settings.LookupTimeout)
			defer cancel()
			results[i] = check(ctx, n)
		})
	}
	running.Wait()
	return newReport(append(findings, slices.Concat(results...)...))
}

// gather queries the runtime, the shim and the registries once, for all checks.
func (n *node) gather(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() {
		n.runtime = probe(ctx, n.Settings.Runtime)
		n.runtimeSettings = n.runtime.readSettings(ctx, n.Settings.Runtime)
	})
	running.Go(func() { n.shim = probe(ctx, n.Settings.Shim) })
	running.Go(func() { n.shimStatus, n.shimStatusErr = n.getShimStatus(ctx) })
	running.Go(func() { n.probes = n.Explainer.Registries.Probe(ctx) })
	running.Wait()
}
