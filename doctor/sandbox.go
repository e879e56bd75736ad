package doctor

import (
	"cmp"
	"context"
	"fmt"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/explain"
	"image-cri-shim/registry"
	"image-cri-shim/rewrite/naming"
)

// checkSandboxImage reports whether the sandbox image of pods is available. The runtime
// pulls this image itself, by the name in its configuration, and not through the shim.
func checkSandboxImage(ctx context.Context, n *node) []Finding {
	if !n.runtime.answers() {
		return nil // reported by checkRuntime
	}
	name := n.sandboxName()
	t := topic{"sandbox image", cmp.Or(name, n.runtime.name())}
	if name == "" && n.runtimeSettings.err != nil {
		return []Finding{t.warn("see the runtime's log", "asking the runtime for the name of the image failed: %v", n.runtimeSettings.err)}
	}
	if name == "" {
		return []Finding{t.warn("make sure that the image is on the node or in a registry that the runtime reaches without the shim",
			"the name of the image is neither reported by the runtime nor set in %s", n.Files.Containerd)}
	}
	found := &cri.ImageStatusResponse{}
	request := &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: name}}
	if err := n.runtime.invoke(ctx, n.Settings.Runtime, "ImageService/ImageStatus", request, found); err != nil {
		return []Finding{t.warn("see the runtime's log", "asking the runtime for the image failed: %v", err)}
	}
	switch {
	case found.Image.GetPinned():
		return []Finding{t.ok("on the node, pinned")}
	case found.Image != nil:
		return []Finding{t.ok("on the node, not pinned: kubelet may remove it when the disk is full")}
	}
	images, err := n.Explainer.Explain(ctx, []string{name})
	if err != nil {
		return []Finding{t.warn("see the runtime's log", "the registries' answers for the image are unknown: %v", err)}
	}
	finding := n.missingSandboxFinding(t, images[0])
	if host, _, _ := split(images[0].Reference); finding.Level == Fail && n.reachesOriginal(ctx, host) {
		finding.Level = Warn
		finding.Text += "; the runtime reaches " + host + ", from which it pulls the image if that has it"
	}
	return []Finding{finding}
}

// sandboxHint returns the remedy for a sandbox image that a registry has under another
// reference. If the runtime keeps the names, it finds an image pulled through the shim.
func (n *node) sandboxHint(image explain.Image, stored string) string {
	if image.Node.Names.Mode == string(naming.InRuntime) {
		return n.pullHint(image.Image) + "; to survive a removal of the image, set the runtime's sandbox image to " + stored + sandboxKeys
	}
	return "set the runtime's sandbox image to " + stored + sandboxKeys + ", then restart the runtime"
}

// sandboxKeys are the settings of the runtimes for the sandbox image.
const sandboxKeys = " (containerd: sandbox_image or pinned_images.sandbox, CRI-O: pause_image)"

// pullHint returns the remedy that pulls an image through the shim, with the shim's
// credentials. crictl's own configuration may name the runtime's socket.
func (n *node) pullHint(image string) string {
	return fmt.Sprintf("pull the image through the shim: `crictl --image-endpoint unix://%s pull %s`", n.Settings.Shim, image)
}

// sandboxName returns the name of the sandbox image that the runtime reports, or that in
// containerd's configuration file.
func (n *node) sandboxName() string {
	if n.runtimeSettings.SandboxImage != "" || !n.runtime.isContainerd() {
		return n.runtimeSettings.SandboxImage
	}
	return readContainerd(n.Files.Containerd).sandbox()
}

// missingSandboxFinding predicts the result of a pull by the runtime. The runtime finds the
// image only if a registry has it under the image's own name.
func (n *node) missingSandboxFinding(t topic, image explain.Image) Finding {
	unasked := ""
	for _, r := range image.Registries {
		if r.Answer == registry.Unknown.String() {
			unasked = cmp.Or(unasked, r.Registry+" could not be asked: "+r.Reason)
		}
		if r.Answer != registry.Found.String() {
			continue
		}
		switch {
		case r.Reference != image.Reference:
			return t.fail(n.sandboxHint(image, r.Reference), "the image is not on the node; %s has it as %s, but the runtime pulls it by its own name and not through the shim", r.Registry, r.Reference)
		case image.User != "":
			return t.warn(n.pullHint(image.Image), "the image is not on the node; %s has it, but the runtime pulls it without the shim's login", r.Registry)
		default:
			return t.ok("the image is not on the node, but %s has it", r.Registry)
		}
	}
	if unasked != "" {
		return t.warn("correct the failures of this registry in this report, then run the doctor again", "the image is not on the node, and no registry is known to have it: %s", unasked)
	}
	return t.fail("push the image to a registry, set the runtime's sandbox image to its name there"+sandboxKeys+", then restart the runtime",
		"the image is neither on the node nor in a configured registry")
}
