package bed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image-cri-shim/e2e/testbed"
)

// The private registry requires a password.
const (
	RegistryHost     = gateway + ":5000"
	RegistryUser     = "shim"
	UnreachableHost  = gateway + ":5001"     // refuses connections
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

// PushAgent stores the image of the agent that `make image` has built for a version, as the
// repository image-cri-shim-agent and as library/image-cri-shim-agent.
func (c *Cluster) PushAgent(ctx context.Context, version string) error {
	folder, err := program(version + "/image-cri-shim-agent_" + version + "_oci")
	if err != nil {
		return err
	}
	root, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		return fmt.Errorf("read the image of the agent: %w", err)
	}
	manifest, err := root.IndexManifest()
	if err != nil {
		return fmt.Errorf("read the image of the agent: %w", err)
	}
	index, err := root.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		return fmt.Errorf("read the image of the agent: %w", err)
	}
	return errors.Join(
		c.Registry.Push(ctx, AgentRepository+":"+version, index),
		c.Registry.Push(ctx, "library/"+AgentRepository+":"+version, index),
	)
}

// AgentRepository is the repository of the agent's image.
const AgentRepository = "image-cri-shim-agent"

// Chart returns the path of the chart that `make chart` has packed for a version.
func Chart(version string) (string, error) {
	return program(version + "/image-cri-shim-" + strings.TrimPrefix(version, "v") + ".tgz")
}

// CreateLogin creates a Secret with the login of the private registry.
func (c *Cluster) CreateLogin(ctx context.Context, namespace, name string) error {
	login, err := json.Marshal(map[string]any{"auths": map[string]any{
		RegistryHost: map[string]string{"username": RegistryUser, "password": RegistryPassword},
	}})
	if err != nil {
		return err
	}
	_, err = c.Client.CoreV1().Secrets(namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Type:       corev1.SecretTypeDockerConfigJson,
		Data:       map[string][]byte{corev1.DockerConfigJsonKey: login},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
