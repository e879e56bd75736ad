package daemon

import (
	"context"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc/codes"
)

// probeInterval is the time between two probes of the runtime.
const probeInterval = time.Second

// runtimeMonitor logs when the runtime stops answering, and when it answers again. Without a
// failed call or an unanswered connection it sends nothing to the runtime.
type runtimeMonitor struct {
	suspected chan struct{}
}

func newRuntimeMonitor() *runtimeMonitor {
	return &runtimeMonitor{suspected: make(chan struct{}, 1)}
}

// observe records the code of a finished call. Unavailable and DeadlineExceeded make the
// monitor probe the runtime, because a registry may be their cause, too.
func (m *runtimeMonitor) observe(code codes.Code) {
	if code == codes.Unavailable || code == codes.DeadlineExceeded {
		m.suspect()
	}
}

// suspect makes the monitor probe the runtime.
func (m *runtimeMonitor) suspect() {
	select {
	case m.suspected <- struct{}{}:
	default: // a probe is already due
	}
}

// start monitors the runtime until end is called. probe returns an error if the runtime does
// not answer.
func (m *runtimeMonitor) start(ctx context.Context, probe func(context.Context) error, log logrus.FieldLogger) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-m.suspected:
			}
			if err := probe(ctx); err != nil && ctx.Err() == nil {
				log.WithError(err).Error("runtime does not answer, calls fail until it is back")
				lost := time.Now()
				for pause(ctx, probeInterval) && probe(ctx) != nil {
				}
				if ctx.Err() == nil {
					log.WithField("after", time.Since(lost).Round(time.Millisecond)).Info("runtime is back")
				}
			}
			pause(ctx, probeInterval)
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// probeRuntime returns an error if the runtime does not accept connections or does not answer.
// Calls on open connections may succeed after the runtime's socket was removed.
func (d *daemon) probeRuntime(ctx context.Context) error {
	if err := d.dialRuntime(ctx, checkTimeout); err != nil {
		return err
	}
	return d.checkRuntime(ctx)
}

// pause waits for a duration. It returns false if ctx is done first.
func pause(ctx context.Context, duration time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(duration):
		return true
	}
}
