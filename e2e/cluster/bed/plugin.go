package bed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// Plugin runs the plugin of kubectl with a kubeconfig, and returns its output and exit code.
func (c *Cluster) Plugin(ctx context.Context, kubeconfig string, arguments ...string) (stdout, stderr string, code int, err error) {
	stdout, stderr, state, err := c.runPlugin(ctx, kubeconfig, arguments)
	if err != nil {
		return "", "", 0, err
	}
	return stdout, stderr, state.ExitCode(), nil
}

func (c *Cluster) runPlugin(ctx context.Context, kubeconfig string, arguments []string) (stdout, stderr string, state *os.ProcessState, err error) {
	plugin, err := program("kubectl-image_cri_shim")
	if err != nil {
		return "", "", nil, err
	}
	var output, problems bytes.Buffer
	command := exec.CommandContext(ctx, plugin, arguments...)
	command.Env = []string{"KUBECONFIG=" + kubeconfig, "HOME=" + c.folder}
	command.Stdout, command.Stderr = &output, &problems
	if err = command.Run(); err != nil {
		if _, exited := errors.AsType[*exec.ExitError](err); !exited {
			return "", "", nil, fmt.Errorf("run the plugin: %w", err)
		}
	}
	return output.String(), problems.String(), command.ProcessState, nil
}
