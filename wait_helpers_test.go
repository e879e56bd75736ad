package main

import (
	"context"
	"time"
)

// waitLimit is the maximum time until a condition is met on a busy machine.
const waitLimit = 20 * time.Second

// pause waits before the next check of a condition.
func pause(ctx context.Context) error {
	timer := time.NewTimer(5 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
