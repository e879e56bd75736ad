package daemon

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
)

// TestRuntimeMonitor requires one line for each loss of the runtime and one for its return, no
// matter how many calls fail, and no probe without a failed call.
func TestRuntimeMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var output bytes.Buffer
		var down atomic.Bool
		var probes atomic.Int64
		m := newRuntimeMonitor()
		end := m.start(t.Context(), func(context.Context) error {
			probes.Add(1)
			if down.Load() {
				return errors.New("connection refused")
			}
			return nil
		}, newLogger(&output, false))
		calls := func(code codes.Code, lasting time.Duration) {
			for begun := time.Now(); time.Since(begun) < lasting; time.Sleep(100 * time.Millisecond) {
				m.observe(code)
			}
			time.Sleep(2 * probeInterval)
			synctest.Wait()
		}
		calls(codes.OK, time.Minute)
		calls(codes.NotFound, time.Minute)
		if probes.Load() != 0 {
			t.Errorf("%d probes without a failed call", probes.Load())
		}
		calls(codes.Unavailable, 10*time.Second) // of a registry
		if output.Len() > 0 || probes.Load() > 12 {
			t.Errorf("%d probes of a runtime that answers: %s", probes.Load(), output.String())
		}
		for _, code := range []codes.Code{codes.Unavailable, codes.DeadlineExceeded} {
			output.Reset()
			down.Store(true)
			calls(code, time.Minute)
			if got := output.String(); strings.Count(got, "level=error") != 1 || !strings.Contains(got, `msg="runtime does not answer, calls fail until it is back" error="connection refused"`) || strings.Count(got, "\n") != 1 {
				t.Errorf("after the loss: %s", got)
			}
			down.Store(false)
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := output.String(); strings.Count(got, `level=info msg="runtime is back" after=1m`) != 1 || strings.Count(got, "\n") != 2 {
				t.Errorf("after the return: %s", got)
			}
		}
		output.Reset()
		down.Store(true)
		m.observe(codes.Unavailable)
		time.Sleep(2 * probeInterval)
		end()
		if got := output.String(); strings.Contains(got, "runtime is back") {
			t.Errorf("at the end: %s", got)
		}
	})
}
