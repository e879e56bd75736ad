package main

import (
	"context"
	"sync"
)

// keepNames lets the namer work in the background until end is called.
func (d *daemon) keepNames(ctx context.Context) (end func()) {
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
