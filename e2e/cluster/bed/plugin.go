package bed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
)

// Plugin runs the plugin of kubectl with a kubeconfig, and returns its output and exit code.
func (c *Cluster) Plugin(ctx context.Context, kubeconfig string, arguments ...string) (stdout, stderr string, code int, err error) {
	plugin, err := program("kubectl-image_cri_shim")
	if err != nil {
		return "", "", 0, err
	}
	var output, problems bytes.Buffer
	command := exec.CommandContext(ctx, plugin, arguments...)
	command.Env = []string{"KUBECONFIG=" + kubeconfig, "HOME=" + c.folder}
	command.Stdout, command.Stderr = &output, &problems
	if err = command.Run(); err != nil {
		if _, exited := errors.AsType[*exec.ExitError](err); !exited {
			return "", "", 0, fmt.Errorf("run the plugin: %w", err)
		}
	}
	return output.String(), problems.String(), command.ProcessState.ExitCode(), nil
}
