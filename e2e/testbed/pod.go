package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Pod is a pod sandbox in the host's network.
type Pod struct {
	client *Client
	config *runtimeapi.PodSandboxConfig
	id     string
}

// RunPod starts a pod without containers. Its containers' logs go to folder.
func RunPod(ctx context.Context, client *Client, name, folder string) (*Pod, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("run a pod: %w", err)
	}
	pod := &Pod{client: client, config: &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "testbed", Uid: name},
		LogDirectory: folder,
		DnsConfig:    &runtimeapi.DNSConfig{Servers: []string{"127.0.0.1"}},
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent: cgroupParent(),
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				NamespaceOptions: &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE},
			},
		},
	}}
	id, err := client.Runtime.RunPodSandbox(ctx, pod.config, "")
	if err != nil {
		return nil, fmt.Errorf("run a pod: %w", err)
	}
	pod.id = id
	return pod, nil
}

// CreateRequest returns a request for a container of an image, given by name or ID.
// Without a command the container runs the image's command.
func (p *Pod) CreateRequest(name, image string, command ...string) *runtimeapi.CreateContainerRequest {
	return &runtimeapi.CreateContainerRequest{
		PodSandboxId: p.id,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: name},
			Image:    &runtimeapi.ImageSpec{Image: image},
			Command:  command,
			LogPath:  name + ".log",
		},
		SandboxConfig: p.config,
	}
}

// Run creates a container and starts it.
func (p *Pod) Run(ctx context.Context, name, image string, command ...string) (id string, err error) {
	request := p.CreateRequest(name, image, command...)
	id, err = p.client.Runtime.CreateContainer(ctx, request.PodSandboxId, request.Config, request.SandboxConfig)
	if err != nil {
		return "", fmt.Errorf("create container %s: %w", name, err)
	}
	if err := p.client.Runtime.StartContainer(ctx, id); err != nil {
		return "", fmt.Errorf("start container %s: %w", name, err)
	}
	return id, nil
}

// Log returns the output of a container so far, without the runtime's line prefixes.
func (p *Pod) Log(name string) (string, error) {
	content, err := os.ReadFile(filepath.Join(p.config.LogDirectory, name+".log"))
	if err != nil {
		return "", fmt.Errorf("read the log of container %s: %w", name, err)
	}
	var printed strings.Builder
	for line := range strings.Lines(string(content)) {
		if fields := strings.SplitN(line, " ", 4); len(fields) == 4 { // time, stream, tag, text
			printed.WriteString(fields[3])
		}
	}
	return printed.String(), nil
}

// Remove ends the pod and its containers.
func (p *Pod) Remove(ctx context.Context) error {
	return errors.Join(
		p.client.Runtime.StopPodSandbox(ctx, p.id),
		p.client.Runtime.RemovePodSandbox(ctx, p.id),
	)
}
