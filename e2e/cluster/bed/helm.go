package bed

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Helm runs Helm as the administrator and returns its output. An error contains the output
// too. The environment variable HELM selects version 3 (the default) or 4.
func (c *Cluster) Helm(ctx context.Context, arguments ...string) (string, error) {
	helm, err := program("helm-" + cmp.Or(os.Getenv("HELM"), "3") + "/helm")
	if err != nil {
		return "", err
	}
	return c.runClient(ctx, helm, arguments...)
}

// Plugin runs `kubectl image-cri-shim` as the administrator and returns its output. An error
// contains the output too: the plugin fails if a node is not ready.
func (c *Cluster) Plugin(ctx context.Context, arguments ...string) (string, error) {
	plugin, err := program("kubectl-image_cri_shim")
	if err != nil {
		return "", err
	}
	return c.runClient(ctx, plugin, arguments...)
}

// runClient runs a client of the cluster.
func (c *Cluster) runClient(ctx context.Context, client string, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, client, arguments...)
	command.Env = []string{"HOME=" + filepath.Join(c.folder, "helm"), "KUBECONFIG=" + c.Kubeconfig, "PATH=" + os.Getenv("PATH")}
	output, err := command.CombinedOutput()
	output = bytes.TrimSpace(output)
	if err != nil {
		return string(output), fmt.Errorf("%s %s: %w: %s", filepath.Base(client), strings.Join(arguments[:min(1, len(arguments))], ""), err, output)
	}
	return string(output), nil
}
