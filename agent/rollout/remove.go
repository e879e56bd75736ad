package rollout

import "context"

// Remove points the clients at the runtime, and then deletes the shim and the agent's state. It
// continues after a Remove that was killed. A shim that the agent has not installed stays.
func (r *Rollout) Remove(ctx context.Context) error {
	if r.Unsupported != nil && !r.Record.Exists() {
		r.Log.WithError(r.Unsupported).Info("nothing to remove: the agent does not install the shim on this system")
		return nil
	}
	if !r.Service.Installed() && !r.Record.Exists() && !r.isStranded(ctx) {
		r.Log.Info("nothing to remove: the agent has not installed the shim on this node")
		return nil
	}
	wanted := release{version: r.Version}
	if err := r.Record.held(wanted); err != nil {
		return err
	}
	next := afterKubelet
	err := r.do(ctx, "point kubelet and crictl at the runtime", func() error { return r.Clients.Unpoint(ctx, r.Settings(), r.begin) })
	if err == nil {
		next = atNextLook
		err = r.do(ctx, "remove the shim", func() error { return r.Service.Remove(ctx) })
	}
	if err == nil {
		err = r.do(ctx, "delete the agent's state", r.Record.remove)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	return r.Record.fail(wanted, err, next)
}

// isStranded reports whether kubelet is pointed at a shim that does not run, as after a deletion
// of the agent's files by hand.
func (r *Rollout) isStranded(ctx context.Context) bool {
	settings := r.Settings()
	k, err := r.Clients.Kubelet(ctx, settings)
	if err != nil {
		r.Log.WithError(err).Warn("the state of kubelet is unknown")
	}
	if !k.Pointed {
		return false
	}
	_, err = r.About(ctx, settings)
	return err != nil
}

// RunRemove removes the shim, and again after each interval if that failed. Then it refreshes
// the status until ctx ends, or returns if once is set. With once, a failure is an error.
func (r *Rollout) RunRemove(ctx context.Context, once bool) error {
	for ctx.Err() == nil {
		if !r.report.status.Removed {
			err := r.Remove(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				r.Log.WithError(err).Error("shim not removed")
			}
			r.report.status.Removed = err == nil
			r.finish(err)
			if once {
				return err
			}
		}
		r.writeStatus()
		_ = sleep(ctx, r.Interval)
	}
	return nil
}
