package doctor

import (
	"context"
	"slices"
	"strings"

	"image-cri-shim/clients"
)

// checkDistributions reports whether kubelet uses the shim on nodes of k3s, RKE2, k0s and
// MicroK8s.
func checkDistributions(_ context.Context, n *node) (findings []Finding) {
	for _, d := range n.Files.Distributions {
		findings = append(findings, n.checkDistribution(d))
	}
	return findings
}

// checkDistribution reports whether kubelet of a distribution uses the shim.
func (n *node) checkDistribution(d clients.Distribution) Finding {
	t := topic{"kubelet", d.Paths()[0]}
	runtime, image, err := d.Endpoints()
	if err != nil {
		return unreadableFinding(t, err)
	}
	hint := n.installHint() + ", then `systemctl restart " + d.Unit + "`"
	switch {
	case runtime.Value == "":
		if !d.CanAdd() || !n.isSocket(d.Runtime, n.Settings.Runtime) {
			hint = d.Manual(n.Settings.Shim)
		}
		return t.fail(hint, "no file of %s sets kubelet's endpoint, or later arguments replace it, so kubelet uses %s's own runtime", d.Name, d.Name)
	case !n.isShim(runtime.Value) && isUnit(runtime.File):
		t.subject = runtime.File
		return t.fail(n.unitHint(runtime.File, d.Unit), "%s", t.endpointText(runtime.Value))
	case !n.isShim(runtime.Value) && !n.canInstall(runtime.Value):
		t.subject = runtime.File
		return t.fail("set the endpoint to unix://"+n.Settings.Shim+" there if the shim's runtime is the intended one, else set the key cri to the other one", "%s", t.endpointText(runtime.Value))
	case !n.isShim(runtime.Value):
		t.subject = runtime.File
		return t.fail(hint, "%s", t.endpointText(runtime.Value))
	case image.Value != "" && !n.isShim(image.Value):
		return n.imageService(topic{"kubelet", image.File}, image.Value).finding(Fail, "remove image-service-endpoint, then systemctl restart "+d.Unit)
	}
	t.subject = runtime.File
	return t.ok("%s uses the shim", d.Name)
}

// noKubeletFinding reports that no file of kubelet was found.
func (n *node) noKubeletFinding(t topic) Finding {
	paths := slices.Concat(n.Files.Kubelet, n.Files.KubeletFlags)
	return t.warn("name kubelet's files with --kubelet-config and --kubelet-flags; without a kubelet on this node, ignore this line",
		"no file of kubelet was found: looked for %s, and for the files of %s", strings.Join(paths, ", "), clients.DistributionNames)
}
