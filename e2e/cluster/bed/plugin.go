package bed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
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

// ShowFleet runs the plugin of kubectl as the administrator, and returns its output and the most
// bytes of memory that it had in use.
func (f *Fleet) ShowFleet(ctx context.Context, arguments ...string) (stdout string, memory int64, err error) {
	plugin, err := program("kubectl-image_cri_shim")
	if err != nil {
		return "", 0, err
	}
	var output, problems bytes.Buffer
	command := exec.CommandContext(ctx, plugin, arguments...)
	command.Env = []string{"KUBECONFIG=" + f.Kubeconfig, "HOME=" + f.folder}
	command.Stdout, command.Stderr = &output, &problems
	if err := command.Start(); err != nil {
		return "", 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }() // until the plugin has ended
	for {
		select {
		case err := <-ended:
			if err != nil {
				err = fmt.Errorf("run the plugin: %w: %s", err, problems.Bytes())
			}
			return output.String(), memory, err
		case <-time.After(10 * time.Millisecond):
			// The resource usage of an ended process would include the memory of this one.
			memory = max(memory, peakMemory(command.Process.Pid))
		}
	}
}

// peakMemory returns the most bytes of memory that a process has had in use, or 0 if it has ended.
func peakMemory(pid int) int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, line, _ := strings.Cut(string(status), "\nVmHWM:")
	var kibibytes int64
	_, _ = fmt.Sscan(line, &kibibytes)
	return kibibytes << 10
}
