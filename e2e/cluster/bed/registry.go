package bed

import (
	"context"
	"path/filepath"

	"image-cri-shim/e2e/testbed"
)

// The private registry requires a password.
const (
	RegistryHost     = gateway + ":5000"
	RegistryUser     = "shim"
	RegistryPassword = "canary:cluster!4d1c" // a unique text, so that a leak is found in any output
)

// startRegistry starts the private registry.
func startRegistry(ctx context.Context, folder string) (*testbed.Registry, error) {
	return testbed.StartRegistry(ctx, testbed.RegistryOptions{
		Folder: filepath.Join(folder, "registry"), Address: RegistryHost,
		Username: RegistryUser, Password: RegistryPassword,
	})
}

// Push stores an image that sleeps in the private registry, for example as
// "library/nginx:1.25". Images of different references differ.
func (c *Cluster) Push(ctx context.Context, repository string) error {
	image, err := testbed.Image(repository)
	if err != nil {
		return err
	}
	return c.Registry.Push(ctx, repository, image)
}
