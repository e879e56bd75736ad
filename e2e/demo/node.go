package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"image-cri-shim/e2e/testbed"
)

const (
	username = "admin"
	password = "passw0rd"
	pause    = "sealos.hub:5000/pause:3.9" // pulled by containerd itself, never through the shim
)

// runtime is containerd or the embedded runtime.
type runtime interface {
	Socket() string
	Stop()
}

// node is the set of running components, as on a node of a cluster.
type node struct {
	folder   string
	registry *testbed.Registry
	runtime  runtime
	shim     *testbed.Shim
	through  *testbed.Client // a client of the shim, in the place of kubelet
	direct   *testbed.Client // a client of the runtime, for comparison
	digest   v1.Hash         // of the nginx image
	pods     bool            // whether the runtime can run containers
	stops    []func()
}

// startNode starts the registry, the runtime and the shim. The caller must stop the node
// even if this fails.
func startNode(ctx context.Context, output io.Writer, folder, shim string) (*node, error) {
	n := &node{folder: folder}
	if err := n.startRegistry(ctx); err != nil {
		return n, err
	}
	if err := n.startRuntime(ctx, output); err != nil {
		return n, err
	}
	if err := n.startShim(ctx, shim); err != nil {
		return n, err
	}
	fmt.Fprintf(output, "private registry  %s, user %s, holds library/nginx:1.25\nruntime           %s\nshim              %s\n",
		n.registry.Address(), username, n.runtime.Socket(), n.shim.Socket())
	return n, nil
}

// stop stops the started components in reverse order.
func (n *node) stop() {
	for _, stop := range slices.Backward(n.stops) {
		stop()
	}
}

func (n *node) onStop(stop func()) { n.stops = append(n.stops, stop) }

func (n *node) startRegistry(ctx context.Context) (err error) {
	n.registry, err = testbed.StartRegistry(ctx, testbed.RegistryOptions{
		Folder: filepath.Join(n.folder, "registry"), Username: username, Password: password,
	})
	if err != nil {
		return err
	}
	n.onStop(n.registry.Stop)
	for repository, variant := range map[string]string{"library/nginx:1.25": "nginx 1.25", "pause:3.9": "pause"} {
		image, err := testbed.Image(variant)
		if err != nil {
			return err
		}
		if err := n.registry.Push(ctx, repository, image); err != nil {
			return err
		}
		if variant != "pause" {
			if n.digest, err = image.Digest(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *node) startRuntime(ctx context.Context, output io.Writer) error {
	options := testbed.RuntimeOptions{
		Folder:       filepath.Join(n.folder, "runtime"),
		SandboxImage: pause,
		Hosts: map[string]testbed.Host{
			"sealos.hub:5000": {Address: n.registry.Address(), Username: username, Password: password},
			// docker.io is unreachable, as from a node without internet access.
			"docker.io": {Address: "http://127.0.0.1:1"},
		},
	}
	missing := testbed.ContainerdMissing()
	if missing == nil {
		containerd, err := testbed.StartContainerd(ctx, options)
		if err == nil {
			n.onStop(containerd.Stop)
			n.runtime, n.pods = containerd, true
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		missing = err
	}
	fmt.Fprintf(output, "containerd can't run here, so an embedded runtime pulls the images:\n%v\n\n", missing)
	embedded, err := testbed.StartEmbeddedRuntime(ctx, options)
	if err != nil {
		return err
	}
	n.onStop(embedded.Stop)
	n.runtime = embedded
	return nil
}

func (n *node) startShim(ctx context.Context, binary string) (err error) {
	n.shim, err = testbed.StartShim(ctx, testbed.ShimOptions{
		Binary:        binary,
		Folder:        filepath.Join(n.folder, "shim"),
		Runtime:       n.runtime.Socket(),
		Configuration: fmt.Sprintf("address: %s\nauth: %s:%s\n", n.registry.Address(), username, password),
	})
	if err != nil {
		return err
	}
	n.onStop(func() { _ = n.shim.Stop() })
	if n.through, err = testbed.Dial(ctx, n.shim.Socket()); err != nil {
		return err
	}
	n.onStop(func() { _ = n.through.Close() })
	if n.direct, err = testbed.Dial(ctx, n.runtime.Socket()); err != nil {
		return err
	}
	n.onStop(func() { _ = n.direct.Close() })
	return nil
}
