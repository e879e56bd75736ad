package proxy_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"

	"image-cri-shim/proxy/proxytest"
)

// concurrentCalls is the number of calls or connections that are open at the same time.
const concurrentCalls = 200

// barrier blocks every call until all have arrived.
type barrier struct {
	missing atomic.Int64
	open    chan struct{}
}

func newBarrier(count int64) *barrier {
	b := &barrier{open: make(chan struct{})}
	b.missing.Store(count)
	return b
}

func (b *barrier) wait(ctx context.Context) error {
	if b.missing.Add(-1) == 0 {
		close(b.open)
	}
	select {
	case <-b.open:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d have not come: %w", b.missing.Load(), ctx.Err())
	}
}

// echoTogether answers once all concurrent calls have sent their first message.
func echoTogether() proxytest.Handler {
	together := newBarrier(concurrentCalls)
	return func(stream grpc.ServerStream) error {
		message, err := proxytest.Receive(stream)
		if err != nil {
			return err
		}
		if err := together.wait(stream.Context()); err != nil {
			return err
		}
		if err := proxytest.Send(stream, message); err != nil {
			return err
		}
		return echo(stream)
	}
}

// concurrently runs a call for each number at the same time.
func concurrently(t *testing.T, call func(number int) error) {
	t.Helper()
	var running sync.WaitGroup
	for number := range concurrentCalls {
		running.Go(func() {
			if err := call(number); err != nil {
				t.Errorf("call %d: %v", number, err)
			}
		})
	}
	running.Wait()
}

func invokeNumber(ctx context.Context, connection *grpc.ClientConn, number int) error {
	response, err := proxytest.Invoke(ctx, connection, method, fmt.Append(nil, number))
	if err != nil {
		return err
	}
	if string(response) != fmt.Sprint(number) {
		return fmt.Errorf("got the answer %q", response)
	}
	return nil
}

func TestConcurrentCalls(t *testing.T) {
	forEachTarget(t, func(t *testing.T, s *fixture) {
		s.handle(echoTogether())
		connection := s.client()
		concurrently(t, func(number int) error { return invokeNumber(s.ctx, connection, number) })
		if open := s.clients(); open != 1 {
			t.Errorf("%d client connections are open, want 1", open)
		}
	})
}

func TestConcurrentStreams(t *testing.T) {
	forEachTarget(t, func(t *testing.T, s *fixture) {
		s.handle(echoTogether())
		connection := s.client()
		concurrently(t, func(number int) error {
			stream, err := proxytest.Open(s.ctx, connection, method)
			if err != nil {
				return err
			}
			for step := range 10 {
				sent := fmt.Sprintf("%d of %d", step, number)
				if err := proxytest.Send(stream, []byte(sent)); err != nil {
					return err
				}
				received, err := proxytest.Receive(stream)
				if err != nil {
					return err
				}
				if string(received) != sent {
					return fmt.Errorf("sent %q, received %q", sent, received)
				}
			}
			if err := stream.CloseSend(); err != nil {
				return err
			}
			return receiveNumbers(stream, 0)
		})
	})
}

func TestConcurrentConnections(t *testing.T) {
	forEachTarget(t, func(t *testing.T, s *fixture) {
		s.handle(echoTogether())
		for range concurrentCalls {
			s.dial()
		}
		concurrently(t, func(number int) error { return invokeNumber(s.ctx, s.dialled[number], number) })
		if open := s.clients(); open != concurrentCalls {
			t.Errorf("%d client connections are open, want %d", open, concurrentCalls)
		}
	})
}
