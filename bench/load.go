package main

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

// load is the result of a series of calls.
type load struct {
	latencies []time.Duration // of each call, ascending
	messages  int             // received in response to them
	elapsed   time.Duration
}

// closedLoop makes the steps in turn for a duration, in parallel workers. Each worker makes
// at least one call and starts the next one after the previous answer. The first error
// ends the loop.
func closedLoop(ctx context.Context, clients []*grpc.ClientConn, steps []step, workers int, duration time.Duration) (load, error) {
	return drive(ctx, clients, steps, workers, func(_ int, elapsed time.Duration) bool { return elapsed < duration })
}

// drive makes calls in parallel workers. A worker continues while more returns true for
// the number of calls that it has made and the time elapsed.
func drive(ctx context.Context, clients []*grpc.ClientConn, steps []step, workers int, more func(made int, elapsed time.Duration) bool) (load, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make([]load, workers)
	var running sync.WaitGroup
	begun := time.Now()
	for worker := range workers {
		running.Go(func() {
			result := &results[worker]
			client := clients[worker%len(clients)]
			for made := 0; ctx.Err() == nil && (made == 0 || more(made, time.Since(begun))); made++ {
				asked := time.Now()
				messages, err := steps[(worker*len(steps)/workers+made)%len(steps)].call(ctx, client)
				if err != nil {
					cancel(err)
					return
				}
				result.latencies = append(result.latencies, time.Since(asked))
				result.messages += messages
			}
		})
	}
	running.Wait()
	total := load{elapsed: time.Since(begun)}
	for _, result := range results {
		total.latencies = append(total.latencies, result.latencies...)
		total.messages += result.messages
	}
	slices.Sort(total.latencies)
	return total, context.Cause(ctx)
}

// openLoop starts calls at a fixed rate, whether or not earlier calls have been answered,
// and measures each call from the time when it was due.
func openLoop(ctx context.Context, clients []*grpc.ClientConn, steps []step, rate float64, duration time.Duration) (load, error) {
	// A locked thread sleeps with nanosleep, because Go's timers round up to
	// a millisecond.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return load{}, err
	}
	result := load{latencies: make([]time.Duration, max(1, int(duration.Seconds()*rate)))}
	var (
		running  sync.WaitGroup
		failure  atomic.Pointer[error]
		interval = time.Duration(float64(time.Second) / rate)
		begun    = time.Now()
	)
	for n := range result.latencies {
		if failure.Load() != nil {
			break
		}
		intended := begun.Add(time.Duration(n) * interval)
		sleepUntil(intended)
		running.Go(func() {
			if _, err := steps[n%len(steps)].call(ctx, clients[n%len(clients)]); err != nil {
				failure.CompareAndSwap(nil, &err)
			}
			result.latencies[n] = time.Since(intended)
		})
	}
	running.Wait()
	result.elapsed, result.messages = time.Since(begun), len(result.latencies)
	slices.Sort(result.latencies)
	if err := failure.Load(); err != nil {
		return result, *err
	}
	return result, ctx.Err()
}

func sleepUntil(moment time.Time) {
	for left := time.Until(moment); left > 0; left = time.Until(moment) {
		rest := unix.NsecToTimespec(left.Nanoseconds())
		if err := unix.Nanosleep(&rest, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
