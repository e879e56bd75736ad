// Package e2e tests the built shim with real components: containerd, registries with
// passwords, and kubelet's client code. Package testbed starts them.
package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.uber.org/goleak"
	"k8s.io/klog/v2"

	"image-cri-shim/e2e/testbed"
)

// runtime is containerd or the runtime in this process.
type runtime interface {
	Socket() string
	Start(ctx context.Context) error
	Stop()
	Kill()
}

// The passwords are unique texts, so that a leak is found in any output.
const (
	privateUser, privatePassword   = "shim", "canary:private!7f3a"
	upstreamUser, upstreamPassword = "caller", "canary-upstream-91bc"
	wrongPassword                  = "canary-wrong-55e0"
	sandboxImage                   = "sealos.hub:5000/pause:3.9"
)

// components are shared by all tests, because they take long to start.
type components struct {
	folder            string            // parent of all files
	shim              string            // the built binary
	private, upstream *testbed.Registry // the node's private registry, and the registry in the place of docker.io
	embedded          runtime
	containerd        runtime // nil if it can't run; missing then is the reason
	missing           error
	images            map[string]v1.Image // by registry and repository:tag
}

var shared components

func TestMain(m *testing.M) {
	if isKubelet() {
		os.Exit(runKubelet())
	}
	if isDistribution() {
		os.Exit(runDistribution())
	}
	klog.SetLogger(klog.Logger{}) // kubelet's client would log each error that it returns
	// A program with the race detector sleeps a second at exit by default.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	_ = flag.Set("test.parallel", "8") // parallel tests mostly wait for registries
	code, err := testWithComponents(m)
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func testWithComponents(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // includes compilation of the shim
	defer cancel()
	folder, err := os.MkdirTemp("", "image-cri-shim-e2e-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	defer shared.stop()
	if err := shared.start(ctx, folder); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func (c *components) start(ctx context.Context, folder string) (err error) {
	c.folder = folder
	if c.shim, err = testbed.BuildShim(ctx, folder, raceFlags...); err != nil {
		return err
	}
	if err := c.startRegistries(ctx, folder); err != nil {
		return err
	}
	options := testbed.RuntimeOptions{
		Folder:       filepath.Join(folder, "embedded"),
		SandboxImage: sandboxImage,
		Hosts: map[string]testbed.Host{
			"docker.io":       {Address: c.upstream.Address()},
			c.private.Host():  {Address: c.private.Address()},
			c.upstream.Host(): {Address: c.upstream.Address()},
			"sealos.hub:5000": {Address: c.private.Address(), Username: privateUser, Password: privatePassword},
		},
	}
	embedded, err := testbed.StartEmbeddedRuntime(ctx, options)
	if err != nil {
		return err
	}
	c.embedded = embedded
	if c.missing = testbed.ContainerdMissing(); c.missing != nil {
		return nil
	}
	options.Folder = filepath.Join(folder, "containerd")
	containerd, err := testbed.StartContainerd(ctx, options)
	if err != nil {
		return err
	}
	c.containerd = containerd
	return nil
}

func (c *components) startRegistries(ctx context.Context, folder string) (err error) {
	c.private, err = testbed.StartRegistry(ctx, testbed.RegistryOptions{
		Folder: filepath.Join(folder, "private"), Username: privateUser, Password: privatePassword,
	})
	if err != nil {
		return err
	}
	c.upstream, err = testbed.StartRegistry(ctx, testbed.RegistryOptions{
		Folder: filepath.Join(folder, "upstream"), Username: upstreamUser, Password: upstreamPassword,
	})
	if err != nil {
		return err
	}
	c.images = make(map[string]v1.Image)
	for _, push := range []struct {
		registry   *testbed.Registry
		repository string
		variant    string
	}{
		{c.private, "pause:3.9", "pause"},
		{c.private, "library/nginx:1.25", "nginx 1.25 of the private registry"},
		{c.private, "library/nginx:latest", "nginx latest of the private registry"},
		{c.private, "library/same:1", "the same in both"},
		{c.upstream, "library/nginx:1.25", "nginx 1.25 of docker.io"},
		{c.upstream, "library/same:1", "the same in both"},
		{c.upstream, "library/original:1", "only in docker.io"},
	} {
		image, err := testbed.Image(push.variant)
		if err != nil {
			return err
		}
		if err := push.registry.Push(ctx, push.repository, image); err != nil {
			return err
		}
		c.images[push.registry.Host()+"/"+push.repository] = image
	}
	return nil
}

func (c *components) stop() {
	if c.containerd != nil {
		c.containerd.Stop()
	}
	if c.embedded != nil {
		c.embedded.Stop()
	}
	for _, registry := range []*testbed.Registry{c.private, c.upstream} {
		if registry != nil {
			registry.Stop()
		}
	}
}

// id returns the runtime's ID of an image, and digest that of its manifest.
func (c *components) id(t *testing.T, registry *testbed.Registry, repository string) string {
	t.Helper()
	return hash(t, c.images[registry.Host()+"/"+repository].ConfigName)
}

func (c *components) digest(t *testing.T, registry *testbed.Registry, repository string) string {
	t.Helper()
	return hash(t, c.images[registry.Host()+"/"+repository].Digest)
}

func hash(t *testing.T, compute func() (v1.Hash, error)) string {
	t.Helper()
	result, err := compute()
	if err != nil {
		t.Fatal(err)
	}
	return result.String()
}

// onEachRuntime runs a test that needs only images, on each available runtime.
func onEachRuntime(t *testing.T, test func(t *testing.T, runtime runtime)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) { test(t, shared.embedded) })
	t.Run("containerd", func(t *testing.T) { test(t, needContainerd(t)) })
}

// needContainerd skips a test that requires containerd if it can't run.
func needContainerd(t *testing.T) runtime {
	t.Helper()
	if shared.missing != nil {
		t.Skip("containerd can't run here:", strings.ReplaceAll(shared.missing.Error(), "\n", ", "))
	}
	return shared.containerd
}
