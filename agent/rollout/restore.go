package rollout

import (
	"context"
	"fmt"

	"image-cri-shim/agent/pointing"
)

// restore brings back the last good release after a failure of this one. If that fails too,
// kubelet uses the runtime without the shim.
func (a *attempt) restore(ctx context.Context) error {
	if good := a.Record.state.Applied; good != nil {
		err := a.do(ctx, "restore the last good configuration", func() error { return a.restoreService(ctx, good.Version) })
		if err == nil {
			err = a.do(ctx, pointing.StepDisarm, func() error { return a.disarm(ctx) })
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	return a.do(ctx, "point kubelet and crictl at the runtime", func() error { return a.Clients.Unpoint(ctx, a.settings, a.begin) })
}

// restoreService applies the last good files with their version, which were probed when they
// were new, and waits until the shim answers.
func (a *attempt) restoreService(ctx context.Context, version string) error {
	former := a.Service
	if version != a.Version {
		former = a.Former(version)
	}
	if a.armed {
		if err := a.Clients.Arm(ctx, a.Settings()); err != nil { // its time begins again
			return err
		}
	}
	if _, err := former.Apply(ctx, a.Record.state.Files); err != nil {
		return err
	}
	return repeat(ctx, func(ctx context.Context) error {
		about, err := a.About(ctx, a.Settings())
		if err == nil && about.Version != version && !former.Packaged() {
			err = fmt.Errorf("the running shim is version %s, want %s", about.Version, version)
		}
		return err
	})
}
