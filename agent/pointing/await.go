package pointing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/kubelet"
)

// pollInterval is the time between two looks at kubelet.
const pollInterval = 500 * time.Millisecond

// running is a kubelet, and the means to observe its state.
type running struct {
	units   Manager
	unit    string
	admin   string      // admin socket of the shim
	healthz string      // URL; empty: disabled
	acted   func() bool // reports whether the switch has acted
	times   times
}

// awaitThrough waits until a kubelet that is not among the former ones works through the shim:
// its calls succeed, its healthz endpoint is well, and it stays so for a while.
func (r *running) awaitThrough(ctx context.Context, former []explain.ShimClient) error {
	return r.await(ctx, "through the shim", func(ctx context.Context) error {
		if r.acted() {
			return ErrReverted
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		client, err := kubelet.Await(short, r.admin, former)
		if err != nil {
			return err
		}
		if err := checkHealthz(ctx, r.healthz); err != nil {
			return err
		}
		if err := sleep(ctx, r.times.settle); err != nil {
			return err
		}
		now, err := kubelet.Connected(ctx, r.admin)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(now, func(c explain.ShimClient) bool { return c.Process == client.Process }) {
			return fmt.Errorf("%s (process %d) called the shim and disconnected", client.Name, client.Process)
		}
		return checkHealthz(ctx, r.healthz)
	})
}

// awaitWithout waits until kubelet is well and not connected to the shim. The shim may be
// stopped.
func (r *running) awaitWithout(ctx context.Context) error {
	return r.await(ctx, "without the shim", func(ctx context.Context) error {
		if now, err := kubelet.Connected(ctx, r.admin); err == nil && len(now) > 0 {
			return fmt.Errorf("%s (process %d) is still connected to the shim", now[0].Name, now[0].Process)
		}
		if err := checkHealthz(ctx, r.healthz); err != nil {
			return err
		}
		unit, err := r.units.Unit(ctx, r.unit)
		if err == nil && r.healthz == "" && unit.Active != "active" {
			err = errors.New("kubelet is not active")
		}
		return err
	})
}

// await repeats check until it succeeds. The error after a timeout is that of the last check
// and says where to look.
func (r *running) await(ctx context.Context, how string, check func(context.Context) error) error {
	timeout, cancel := context.WithTimeout(ctx, r.times.kubelet)
	defer cancel()
	var problem error
	for {
		err := check(timeout)
		if err == nil || errors.Is(err, ErrReverted) {
			return err
		}
		if problem == nil || timeout.Err() == nil || !errors.Is(err, context.DeadlineExceeded) {
			problem = err
		}
		if sleep(timeout, pollInterval) == nil {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		state := "unknown"
		if unit, err := r.units.Unit(ctx, r.unit); err == nil {
			state = unit.Active
		}
		return fmt.Errorf("kubelet does not work %s within %s, the state of %s is %s, and journalctl -u %s shows why: %w",
			how, config.ShortDuration(r.times.kubelet), r.unit, state, r.unit, problem)
	}
}

// connected returns the kubelets that are connected to the shim. It waits for a shim that is
// being restarted.
func (r *running) connected(ctx context.Context) ([]explain.ShimClient, error) {
	ctx, cancel := context.WithTimeout(ctx, r.times.connect)
	defer cancel()
	for {
		now, err := kubelet.Connected(ctx, r.admin)
		if err == nil || sleep(ctx, pollInterval) != nil {
			return now, err
		}
	}
}

// isConnected reports whether a kubelet is connected to the shim and its calls succeed. It
// waits for a kubelet that connects again to a shim that was just restarted.
func (r *running) isConnected(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, r.times.connect)
	defer cancel()
	_, err := kubelet.Await(ctx, r.admin, nil)
	return err == nil
}

// staysConnected reports whether kubelet is still connected to the shim after r.times.connect. The
// former process of a kubelet that the switch has just restarted ends within this time. Without a
// running shim, no kubelet is connected.
func (r *running) staysConnected(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, r.times.connect)
	defer cancel()
	for {
		now, err := kubelet.Connected(ctx, r.admin)
		if err != nil || len(now) == 0 {
			return false
		}
		if sleep(ctx, pollInterval) != nil {
			return true
		}
	}
}

func sleep(ctx context.Context, duration time.Duration) error {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
