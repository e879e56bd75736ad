package critest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"image-cri-shim/e2e/testbed"
)

const username, password = "shim", "canary:conformance!5a2e"

// nriSocket is containerd's default path, in containerd's own /run.
const nriSocket = "/var/run/nri/nri.sock"

// mode is the way from clients to containerd, and the set of registries with the images.
type mode string

const (
	direct    mode = "direct"    // without the shim
	unchanged mode = "unchanged" // through a shim without registries
	renamed   mode = "renamed"   // through a shim, from a private registry only
)

// nodeOptions configures a node.
type nodeOptions struct {
	Mode     mode
	Binaries string // the folder of containerd's programs; empty: PATH
	Shim     string // path of the built shim
}

// node is a containerd without images, with a shim in front of it unless its mode is direct.
type node struct {
	folder     string
	containerd *testbed.Containerd
	shim       *testbed.Shim // nil in direct mode
}

// podNetwork is the configuration of the pods' network.
const podNetwork = `{"cniVersion": "0.4.0", "name": "critest", "plugins": [
  {"type": "bridge", "bridge": "critest0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": %q,
            "ranges": [[{"subnet": "10.89.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
`

// startNode starts a node, which the caller must stop. The registry has all images.
func startNode(ctx context.Context, registry *testbed.Registry, options nodeOptions) (*node, error) {
	n := &node{}
	var err error
	if n.folder, err = os.MkdirTemp(folder, "node-"); err != nil {
		return nil, err
	}
	network := filepath.Join(n.folder, "net.d")
	if err := os.Mkdir(network, 0o700); err != nil {
		return nil, err
	}
	configuration := fmt.Appendf(nil, podNetwork, filepath.Join(n.folder, "addresses"))
	if err := os.WriteFile(filepath.Join(network, "10-critest.conflist"), configuration, 0o600); err != nil {
		return nil, err
	}
	n.containerd, err = testbed.StartContainerd(ctx, testbed.RuntimeOptions{
		Folder: n.folder, Hosts: hosts(registry, options.Mode), SandboxImage: sandboxImage,
		Binaries: options.Binaries, Snapshotter: "overlayfs",
	})
	if err != nil {
		return nil, err
	}
	if options.Mode == direct {
		return n, nil
	}
	shim := testbed.ShimOptions{Binary: options.Shim, Folder: filepath.Join(n.folder, "shim"), Runtime: n.containerd.Socket()}
	if options.Mode == renamed {
		shim.Configuration = fmt.Sprintf("address: %s\nauth: %q\n", registry.Address(), username+":"+password)
	}
	if n.shim, err = testbed.StartShim(ctx, shim); err != nil {
		n.containerd.Stop()
		return nil, err
	}
	return n, nil
}

// hosts returns the addresses of the registries in image names for containerd. In renamed mode
// the originals are unreachable, so a pull succeeds only from the private registry.
func hosts(registry *testbed.Registry, mode mode) map[string]testbed.Host {
	private := testbed.Host{Address: registry.Address(), Username: username, Password: password}
	hosts := map[string]testbed.Host{
		"sandbox.test":  private,
		registry.Host(): {Address: registry.Address()}, // the shim has the password
	}
	for _, original := range originals {
		hosts[original] = private
		if mode == renamed {
			hosts[original] = testbed.Host{Address: "http://127.0.0.1:1"}
		}
	}
	return hosts
}

// stop ends the node and removes its files.
func (n *node) stop() error {
	var err error
	if n.shim != nil {
		if err = n.shim.Stop(); err != nil {
			err = fmt.Errorf("the shim ended with: %w", err)
		}
	}
	n.containerd.Stop()
	removeCgroup()
	return errors.Join(err, os.RemoveAll(n.folder))
}

// removeCgroup removes the control group above the pods, which containerd leaves behind. The
// kernel keeps it if another node of the tests or of the machine uses it.
func removeCgroup() {
	const mount, group = "/sys/fs/cgroup", "k8s.io"
	groups, _ := filepath.Glob(filepath.Join(mount, "*", group)) // the pattern is well-formed
	for _, group := range append(groups, filepath.Join(mount, group)) {
		_ = os.Remove(group)
	}
}

// socket returns the path of the socket for clients.
func (n *node) socket() string {
	if n.shim != nil {
		return n.shim.Socket()
	}
	return n.containerd.Socket()
}

// startRegistry starts the private registry with all images. The caller must stop it.
func startRegistry(ctx context.Context, stub string) (*testbed.Registry, error) {
	files, err := os.MkdirTemp(folder, "registry-")
	if err != nil {
		return nil, err
	}
	registry, err := testbed.StartRegistry(ctx, testbed.RegistryOptions{Folder: files, Username: username, Password: password})
	if err != nil {
		return nil, err
	}
	if err := pushImages(ctx, registry, stub); err != nil {
		registry.Stop()
		return nil, err
	}
	return registry, nil
}
