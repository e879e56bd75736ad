package rollout

import (
	"context"
	"fmt"
	"time"

	"image-cri-shim/agent/pointing"
	"image-cri-shim/config"
)

// unwellTimeout is the time for a kubelet that fails to work again while it is pointed at the
// shim.
const unwellTimeout = 5 * time.Minute

// unwell is the state of a kubelet that does not work, over several looks.
type unwell struct {
	since    time.Time // zero: kubelet works
	process  int       // at the last look
	failures int       // looks at which the unit was not active, or had another process
}

// look takes the state of kubelet into account. It reports whether kubelet has failed for too
// long. A kubelet that an administrator has stopped does not fail, and neither does one that
// runs but does not answer. A kubelet works if the same process is well at two looks: one that
// fails soon after each start may be well at a single one.
func (u *unwell) look(k pointing.Kubelet) bool {
	former := u.process
	u.process = k.Process
	works := k.Active == "active" && k.Healthz == nil
	if !k.Pointed || k.Active == "inactive" || works && (k.Process == former || former == 0) {
		u.since, u.failures = time.Time{}, 0
		return false
	}
	if u.since.IsZero() {
		u.since = time.Now()
	}
	if k.Active != "active" || k.Process != former && former != 0 {
		u.failures++
	}
	return u.failures > 1 && !works && time.Since(u.since) >= unwellTimeout
}

// rescue points kubelet back at the runtime if it is pointed at the shim and has failed for
// minutes, for any reason. It then is not pointed again before a backoff.
func (r *Rollout) rescue(ctx context.Context, d *Desired) error {
	settings := r.Settings()
	k, err := r.Clients.Kubelet(ctx, settings)
	if err != nil {
		r.Log.WithError(err).Warn("the state of kubelet is unknown")
		return nil
	}
	if !r.unwell.look(k) {
		return nil
	}
	wanted := r.wanted(d)
	if err := r.Record.held(wanted); err != nil {
		return err
	}
	state := k.Active
	if state == "active" {
		state = "restarting"
	}
	cause := fmt.Errorf("%s has not worked for %s while it uses the shim, its state is %s, and journalctl -u %s shows why",
		k.Unit, config.ShortDuration(time.Since(r.unwell.since).Round(time.Second)), state, k.Unit)
	if k.Healthz != nil {
		cause = fmt.Errorf("%w: %w", cause, k.Healthz)
	}
	r.unwell = unwell{}
	err = r.do(ctx, "point a kubelet that fails back", func() error {
		if err := r.Clients.Unpoint(ctx, settings, r.begin); err != nil {
			return fmt.Errorf("%w; then %w", cause, err)
		}
		return nil
	})
	if ctx.Err() != nil {
		return err
	}
	if err == nil {
		err = &stepError{"point a kubelet that fails back", cause}
	}
	return r.Record.fail(wanted, err, afterKubelet)
}
