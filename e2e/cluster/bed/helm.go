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
	helm, err := program("helm-" + cmp.Or(os.Getenv("HELM"), "3") + "/helm")
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, helm, arguments...)
	command.Env = []string{"HOME=" + filepath.Join(c.folder, "helm"), "KUBECONFIG=" + c.Kubeconfig, "PATH=" + os.Getenv("PATH")}
	output, err := command.CombinedOutput()
	output = bytes.TrimSpace(output)
	if err != nil {
		return string(output), fmt.Errorf("helm %s: %w: %s", arguments[0], err, output)
	}
	return string(output), nil
}
