package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// keepOffHint ends the errors about nodes on which the agent can't install the shim.
const keepOffHint = "nothing was changed; the label image-cri-shim.io/enabled=false keeps the agent off this node"

// refused are the systems that can't keep the shim or would undo its installation, by their ID
// in os-release(5), each with the reason and the system's own setting for registries.
var refused = map[string]string{
	// Process 1 is Talos' own, and the root is read-only: docs.siderolabs.com.
	"talos": "Talos has no systemd; set machine.registries.mirrors and machine.registries.config in its machine configuration (since Talos 1.12: RegistryMirrorConfig, RegistryAuthConfig and RegistryTLSConfig)",
	// /etc is created at boot from the settings, and the root is verified: bottlerocket.dev.
	"bottlerocket": "Bottlerocket creates /etc and kubelet's configuration at each boot; set settings.container-registry.mirrors and settings.container-registry.credentials",
	// /etc is a tmpfs, /var and /home are noexec: cloud.google.com/container-optimized-os.
	"cos": "Container-Optimized OS loses /etc at each reboot; use registryHosts in GKE's containerd configuration, or a node pool with Ubuntu",
	// The machine config daemon compares kubelet's files with the rendered configuration, and marks
	// the node degraded ("content mismatch for file").
	openShift: "the machine config operator of OpenShift owns kubelet's files; create an ImageTagMirrorSet and an ImageDigestMirrorSet",
}

// openShift is the ID of Red Hat CoreOS. Its other builds have the key OPENSHIFT_VERSION.
const openShift = "rhcos"

// CheckSystem returns an error with a remedy if the agent refuses this node's system. It must be
// called after [Enter].
func CheckSystem() error { return checkSystem("/") }

func checkSystem(root string) error {
	release := osRelease(root)
	id := release["ID"]
	if release["OPENSHIFT_VERSION"] != "" {
		id = openShift
	}
	if reason, ok := refused[id]; ok {
		return fmt.Errorf("this system is not supported: %s; %s", reason, keepOffHint)
	}
	if _, err := os.Stat(filepath.Join(root, "run/systemd/system")); err != nil { // sd_booted(3)
		return fmt.Errorf("this system is not supported: process 1 is not systemd: %w; %s", err, keepOffHint)
	}
	return nil
}

// osRelease returns the keys of os-release(5), or nothing without such a file.
func osRelease(root string) map[string]string {
	content, err := os.ReadFile(filepath.Join(root, "etc/os-release"))
	if err != nil {
		content, _ = os.ReadFile(filepath.Join(root, "usr/lib/os-release"))
	}
	release := make(map[string]string)
	for line := range strings.Lines(string(content)) {
		if key, value, found := strings.Cut(strings.TrimSpace(line), "="); found {
			release[key] = strings.Trim(value, `"'`)
		}
	}
	return release
}
