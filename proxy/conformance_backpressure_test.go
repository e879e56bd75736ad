package proxy_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"image-cri-shim/proxy/proxytest"
)

// Data that one side does not read must not pile up in between, and a waiting sender must be
// released when the client cancels.
func TestBackPressure(t *testing.T) {
	tests := []struct {
		name            string
		runtime, client func(*flood, proxytest.Messages)
	}{
		{"client does not read", (*flood).send, nil},
		{"runtime does not read", nil, (*flood).send},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, s *fixture) {
				water := new(flood)
				s.handle(func(stream grpc.ServerStream) error {
					if test.runtime != nil {
						test.runtime(water, stream)
					}
					<-stream.Context().Done()
					return nil
				})
				ctx, cancel := context.WithCancel(s.ctx)
				defer cancel()
				c := s.open(ctx)
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					if test.client != nil {
						test.client(water, c)
					}
				}()
				water.awaitStandstill(t)
				cancel()
				await(t, "the client's sender comes free", ended)
				eventually(t, "the runtime's handler comes free", func() bool { return s.runtime.Calls() == 0 })
			})
		})
	}
}

// flood sends much more than any window allows.
type flood struct {
	sent atomic.Int64 // messages
}

const (
	floodMessage = 1 << 20 // bytes
	floodBound   = 64      // messages that may be in transit
)

func (f *flood) send(stream proxytest.Messages) {
	for message := make([]byte, floodMessage); f.sent.Load() < floodBound; f.sent.Add(1) {
		if proxytest.Send(stream, message) != nil {
			return
		}
	}
}

// awaitStandstill waits until the sender has been blocked for a while.
func (f *flood) awaitStandstill(t *testing.T) {
	t.Helper()
	var last int64
	var since time.Time
	eventually(t, "the sender is held back", func() bool {
		sent := f.sent.Load()
		if sent == floodBound {
			t.Fatalf("the sender sent %d messages of %d bytes without a reader", sent, floodMessage)
		}
		if sent != last {
			last, since = sent, time.Now()
		}
		return last > 0 && time.Since(since) > 300*time.Millisecond
	})
}
