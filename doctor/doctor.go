package doctor

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"image-cri-shim/clients"
	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/registry"
)

// checkTimeout bounds each wait of a check. Requests to registries are bounded by
// lookupTimeout instead.
const checkTimeout = 3 * time.Second

// Options are the inputs of [Examine].
type Options struct {
	File      string             // configuration file
	Settings  *config.Config     // content of File
	Problem   error              // set if Settings are missing or unusable
	Explainer *explain.Explainer // uses Settings
	Version   string             // version of this program
	Admin     string             // admin socket of the running shim
	Files     Files
	Sample    bool // look up no more images of the node than it takes to judge each registry
}

// Files are the configuration files of other programs on the node. Each may be missing.
type Files struct {
	Kubelet      []string // kubelet's configuration and its drop-ins; later files override earlier ones
	KubeletNamed bool     // the user named the first of them
	KubeletFlags []string // units and environment files with kubelet's flags, which override Kubelet; later files override earlier ones
	// Distributions are those that keep kubelet's endpoint in files of their own.
	Distributions []clients.Distribution
	Crictl        string
	Kubeadm       []string // glob patterns
	Containerd    string   // config.toml, for settings that containerd does not report
	Registries    string   // registries.conf of CRI-O; drop-ins are in the folder of this name with the suffix .d
	Certificates  []string // certs.d folders of CRI-O
}

// node is the state that the checks examine. gather fills in the parts that several
// checks need.
type node struct {
	Options
	runtime         criServer
	runtimeSettings runtimeSettings
	process         runtimeProcess
	shim            criServer
	shimStatus      ShimStatus // of the running shim
	shimStatusErr   error      // set if shimStatus is unknown
	shimStatusAt    time.Time  // time of the request for shimStatus
	units           units
	probes          []registry.Probe
	images          nodeImages
}

// check examines one subject of a node.
type check func(context.Context, *node) []Finding

// Examine runs all checks concurrently. It takes at most a few seconds plus six times
// lookupTimeout, unless access to a file hangs.
func Examine(ctx context.Context, options Options) Report {
	n := &node{Options: options}
	findings := checkConfiguration(n)
	if n.Problem != nil {
		return newReport(append(findings, checkLastGood(ctx, n)...))
	}
	n.gather(ctx)
	// checkSandboxImage is behind checkRegistries: its remedy is a pull, which needs the registries.
	checks := slices.Concat(
		[]check{checkPermissions, checkRuntime, checkContainerdFile, checkShimSocket, checkSocketUnit, checkRunningShim},
		n.clientChecks(),
		[]check{checkNames, checkRegistries, checkSandboxImage, checkFallback, checkOriginals, checkStateDirectory, checkLedger, checkMetrics},
	)
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

// clientChecks returns the checks of the clients. There are none while the running shim serves
// its former socket, which is right for the clients until the restart.
func (n *node) clientChecks() []check {
	if n.servesFormerSocket() {
		return nil
	}
	return []check{checkDistributions, checkKubelet, checkKubeletConnection, checkCrictl, checkKubeadm}
}

// gather queries the runtime, the shim and the registries once, for all checks.
func (n *node) gather(ctx context.Context) {
	n.shimStatusAt = time.Now()
	var running sync.WaitGroup
	running.Go(func() {
		n.runtime = probe(ctx, n.Settings.Runtime)
		n.runtimeSettings = n.runtime.readSettings(ctx, n.Settings.Runtime)
		if n.runtime.isContainerd() {
			n.process = findRuntimeProcess(ctx, n.Settings.Runtime)
			n.Files.Containerd = cmp.Or(n.process.config, n.Files.Containerd)
		}
	})
	running.Go(func() { n.shim = probe(ctx, n.Settings.Shim) })
	running.Go(func() { n.shimStatus, n.shimStatusErr = n.getShimStatus(ctx) })
	running.Go(func() { n.units = readUnits(ctx) })
	running.Go(func() { n.probes = n.Explainer.Registries.Probe(ctx) })
	running.Wait()
	n.images = n.lookUpImages(ctx)
}
