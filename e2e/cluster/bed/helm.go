package bed

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Helm runs Helm as the administrator and returns its output. An error contains the output
// too. The environment variable HELM selects version 3 (the default) or 4.
func (c *Cluster) Helm(ctx context.Context, arguments ...string) (string, error) {
	return runHelm(ctx, c.Kubeconfig, arguments)
}

// Helm runs Helm without a cluster.
func Helm(ctx context.Context, arguments ...string) (string, error) {
	return runHelm(ctx, "", arguments)
}

func runHelm(ctx context.Context, kubeconfig string, arguments []string) (string, error) {
	helm, err := program("helm-" + cmp.Or(os.Getenv("HELM"), "3") + "/helm")
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, helm, arguments...)
	command.Env = []string{"HOME=" + filepath.Join(Folder(), "helm"), "KUBECONFIG=" + kubeconfig, "PATH=" + os.Getenv("PATH")}
	output, err := command.CombinedOutput()
	output = bytes.TrimSpace(output)
	if err != nil {
		return string(output), fmt.Errorf("helm %s: %w: %s", arguments[0], err, output)
	}
	return string(output), nil
}
