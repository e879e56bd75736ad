package daemon

import (
	"context"
	"sync"
	"time"

	"image-cri-shim/rewrite"
)

// probeNaming returns where names are kept, and asks the runtime for at most a second if
// that is not known yet.
func (d *daemon) probeNaming(ctx context.Context) rewrite.Naming {
	naming := d.namer.Naming()
	if naming.Mode != rewrite.NamesUnknown {
		return naming
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return d.namer.Probe(ctx)
}

// runNamer lets the namer work in the background until end is called.
func (d *daemon) runNamer(ctx context.Context) (end func()) {
	if d.namer == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // calls that are drained are named, too
	var running sync.WaitGroup
	running.Go(func() { d.namer.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}
