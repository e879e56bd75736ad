package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"image-cri-shim/admin"
	"image-cri-shim/clients"
	"image-cri-shim/explain"
)

// kubelet is the running kubelet of the node.
type kubelet struct {
	unit  string // systemd unit
	admin string // admin socket of the shim
	out   io.Writer
}

const (
	restartTimeout  = 2 * time.Minute        // of systemctl without --wait
	kubeletInterval = 200 * time.Millisecond // between two requests to the shim
)

// restartAndWait restarts kubelet after changes. If wait is above 0, it waits up to that long
// until a kubelet that was not connected before has called the shim. Otherwise, also after a
// signal, it reverts the changes and restarts kubelet again.
func (k kubelet) restartAndWait(ctx context.Context, changes []clients.Change, wait time.Duration) error {
	if wait <= 0 {
		return k.systemctl(ctx, restartTimeout, "restart", k.unit)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	former, err := k.connected(ctx)
	if err == nil {
		fmt.Fprintf(k.out, "restarting %s, and waiting up to %s until it calls the shim\n", k.unit, wait)
		// k3s is ready only after kubelet, so that a blocking restart might not end.
		err = k.systemctl(ctx, wait, "restart", "--no-block", k.unit)
	}
	if err == nil {
		if err = k.await(ctx, wait, former); err == nil {
			return nil
		}
	}
	stop() // a second signal ends the process
	ctx = context.WithoutCancel(ctx)
	if failed := clients.RevertAll(changes); failed != nil {
		return errors.Join(err, fmt.Errorf("some files could not be restored: %w", failed))
	}
	if failed := k.systemctl(ctx, restartTimeout, "restart", "--no-block", k.unit); failed != nil {
		return errors.Join(fmt.Errorf("the files were restored, but kubelet must be restarted: %w", err), failed)
	}
	return fmt.Errorf("the files were restored, and %s was restarted again: %w", k.unit, err)
}

// await waits until a kubelet that is not among former has called the shim.
func (k kubelet) await(ctx context.Context, wait time.Duration, former []explain.ShimClient) error {
	timeout, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	ticker := time.NewTicker(kubeletInterval)
	defer ticker.Stop()
	problem := "kubelet did not connect to the shim"
	for {
		now, err := k.connected(timeout)
		if err == nil {
			problem = "kubelet did not connect to the shim"
		} else if timeout.Err() == nil {
			problem = err.Error()
		}
		for _, client := range now {
			if slices.ContainsFunc(former, func(f explain.ShimClient) bool { return f.Process == client.Process }) {
				continue
			}
			if client.Calls > 0 {
				fmt.Fprintf(k.out, "%s (process %d) calls the shim\n", client.Name, client.Process)
				return nil
			}
			problem = fmt.Sprintf("%s (process %d) connected to the shim, but none of its calls succeeded", client.Name, client.Process)
		}
		select {
		case <-ticker.C:
		case <-timeout.Done():
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			return fmt.Errorf("%s within %s; the state of %s is %s, and journalctl -u %s shows why", problem, wait, k.unit, k.state(ctx), k.unit)
		}
	}
}

// connected returns the kubelets that are connected to the shim.
func (k kubelet) connected(ctx context.Context) ([]explain.ShimClient, error) {
	var status explain.ShimStatus
	if err := admin.Get(ctx, k.admin, admin.AboutPath, nil, &status); err != nil {
		return nil, err
	}
	if status.Clients == nil {
		return nil, admin.ErrUnknown
	}
	return slices.DeleteFunc(status.Clients, func(c explain.ShimClient) bool { return !c.IsKubelet() }), nil
}

// state returns the state of the unit, such as failed.
func (k kubelet) state(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	output, _ := exec.CommandContext(ctx, "systemctl", "is-active", k.unit).Output() // the exit code is that of the state
	if state := strings.TrimSpace(string(output)); state != "" {
		return state
	}
	return "unknown"
}

func (k kubelet) systemctl(ctx context.Context, timeout time.Duration, arguments ...string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	output, err := exec.CommandContext(ctx, "systemctl", arguments...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %.500s", strings.Join(arguments, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}
