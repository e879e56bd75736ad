package main

import (
	"context"
	"time"
)

// waitLimit is how long a condition may take to come true on a busy machine.
const waitLimit = 20 * time.Second

// pause waits a little before a condition is looked at again.
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
