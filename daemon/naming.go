package daemon

import (
	"context"
	"sync"
	"time"

	"image-cri-shim/rewrite/naming"
)

// probeNaming returns where names are kept. If that is unknown, it probes the runtime, for at
// most a second.
func (d *daemon) probeNaming(ctx context.Context) naming.Status {
	if status := d.namer.Status(); status.Mode != naming.Unknown {
		return status
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return d.namer.Probe(ctx)
}

// runNamer runs the namer in the background until end is called.
func (d *daemon) runNamer(ctx context.Context) (end func()) {
	if d.namer == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // drained pulls still get their names
	var running sync.WaitGroup
	running.Go(func() { d.namer.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}
