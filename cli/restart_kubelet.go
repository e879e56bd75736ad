package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"image-cri-shim/clients"
	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/kubelet"
)

// restarter restarts kubelet through systemctl.
type restarter struct {
	unit   string // systemd unit
	admin  string // admin socket of the shim
	out    io.Writer
	wait   time.Duration        // 0: kubelet is restarted without waiting for it
	former []explain.ShimClient // kubelets that were connected before the change
}

// restartTimeout bounds systemctl without --wait.
const restartTimeout = 2 * time.Minute

// prepare must be called before the files are changed. If k waits, it fails if the shim can't
// tell which kubelet is connected, and ctx ends with a signal instead of the process.
func (k *restarter) prepare(parent context.Context) (ctx context.Context, stop func(), err error) {
	if k.wait <= 0 {
		return parent, func() {}, nil
	}
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signals = append(signals, syscall.SIGHUP) // the terminal or the ssh session has ended
	}
	ctx, stop = signal.NotifyContext(parent, signals...)
	signal.Ignore(syscall.SIGPIPE) // a reader of the output that ends must not leave changed files
	k.former, err = kubelet.Connected(ctx, k.admin)
	return ctx, stop, err
}

// restartAndWait restarts kubelet after changes. If k waits, it waits until a kubelet that was
// not connected before has called the shim. Otherwise, also after a signal, it reverts the
// changes and restarts kubelet again. ctx and stop are those of prepare.
func (k *restarter) restartAndWait(ctx context.Context, stop func(), changes []clients.Change) error {
	if k.wait <= 0 {
		return k.systemctl(ctx, restartTimeout, "restart", k.unit)
	}
	fmt.Fprintf(k.out, "restarting %s, and waiting up to %s until it calls the shim\n", k.unit, config.ShortDuration(k.wait))
	// k3s is ready only after kubelet, so that a blocking restart might not end.
	err := k.systemctl(ctx, k.wait, "restart", "--no-block", k.unit)
	if err == nil {
		if err = k.await(ctx); err == nil {
			return nil
		}
	}
	if ctx.Err() != nil {
		err = errInterrupted
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

// errInterrupted is the error after a signal.
var errInterrupted = errors.New("interrupted")

// await waits until a kubelet that is not among the former ones has called the shim.
func (k *restarter) await(ctx context.Context) error {
	timeout, cancel := context.WithTimeout(ctx, k.wait)
	defer cancel()
	client, err := kubelet.Await(timeout, k.admin, k.former)
	switch {
	case err == nil:
		fmt.Fprintf(k.out, "%s (process %d) calls the shim\n", client.Name, client.Process)
		return nil
	case ctx.Err() != nil:
		return errInterrupted
	}
	return fmt.Errorf("%w within %s; the state of %s is %s, and journalctl -u %s shows why", err, config.ShortDuration(k.wait), k.unit, k.state(ctx), k.unit)
}

// state returns the state of the unit, such as failed.
func (k *restarter) state(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	output, _ := exec.CommandContext(ctx, "systemctl", "is-active", k.unit).Output() // the exit code is that of the state
	if state := strings.TrimSpace(string(output)); state != "" {
		return state
	}
	return "unknown"
}

func (k *restarter) systemctl(ctx context.Context, timeout time.Duration, arguments ...string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	output, err := exec.CommandContext(ctx, "systemctl", arguments...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %.500s", strings.Join(arguments, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}
