package proxy_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy"
	"image-cri-shim/proxy/intercept"
	"image-cri-shim/proxy/proxytest"
)

const unboundedMethod = "/conformance.v1.Service/Events"

// forEachUnbounded runs every engine with unbounded calls. Some are forwarded, and some are
// changed by an interceptor.
func forEachUnbounded(t *testing.T, observer proxy.Observer, check func(*testing.T, *fixture, *runningEngine)) {
	options := proxy.Options{Unbounded: []string{unboundedMethod}, Observer: observer}
	t.Run("forwarded", func(t *testing.T) { forEachRunningEngine(t, options, check) })
	options.Interceptors.Stream = map[string]intercept.Stream{
		unboundedMethod: func(_ context.Context, request []byte, _ intercept.Invoke) ([]byte, intercept.Transform, error) {
			return request, func(message []byte) ([]byte, error) { return message, nil }, nil
		},
	}
	t.Run("intercepted", func(t *testing.T) { forEachRunningEngine(t, options, check) })
}

// An unbounded call continues while another call runs, on the same connection or not, and then
// ends. The shutdown waits for no call in vain.
func TestShutdownEndsUnboundedCallsLast(t *testing.T) {
	forEachUnbounded(t, nil, func(t *testing.T, s *fixture, f *runningEngine) {
		s.restarted = true
		meanwhile := make(chan struct{})
		s.runtime.Handle(unboundedMethod, func(stream grpc.ServerStream) error {
			if err := proxytest.Send(stream, []byte("first")); err != nil {
				return err
			}
			select {
			case <-meanwhile:
				if err := proxytest.Send(stream, []byte("meanwhile")); err != nil {
					return err
				}
			case <-stream.Context().Done():
			}
			<-stream.Context().Done()
			return stream.Context().Err()
		})
		started, finish := make(chan struct{}), make(chan struct{})
		s.handle(func(stream grpc.ServerStream) error {
			started <- struct{}{}
			<-finish
			return echo(stream)
		})
		other := s.dial()
		var listening []*call
		for _, client := range []*grpc.ClientConn{s.dial(), other} {
			stream, err := proxytest.Open(s.ctx, client, unboundedMethod)
			if err != nil {
				t.Fatal(err)
			}
			listening = append(listening, &call{stream, t})
			listening[len(listening)-1].send([]byte("request"))
			listening[len(listening)-1].closeSend()
			listening[len(listening)-1].expect("first")
		}
		results := make(chan error, 1)
		go func() {
			_, err := proxytest.Invoke(s.ctx, other, method, []byte("request"))
			results <- err
		}()
		await(t, "the runtime is called", started)
		shutdown := make(chan error, 1)
		begin := time.Now()
		go func() { shutdown <- f.Shutdown(s.ctx) }()
		awaitListenerClosed(t, f)
		close(meanwhile)
		for _, stream := range listening {
			stream.expect("meanwhile")
		}
		close(finish)
		if err := await(t, "the running call ends", results); err != nil {
			t.Errorf("the running call: %v", err)
		}
		for _, stream := range listening {
			if _, err := proxytest.Receive(stream); status.Code(err) != codes.Unavailable {
				t.Errorf("the unbounded call ended with %v, want Unavailable", err)
			}
		}
		if err := await(t, "Shutdown returns", shutdown); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		t.Logf("Shutdown took %v", time.Since(begin))
	})
}

// A client that only listens for events does not delay a shutdown.
func TestShutdownWithUnboundedCallsOnly(t *testing.T) {
	seen := make(chan proxy.Call, 10)
	forEachUnbounded(t, finishedCalls(seen), func(t *testing.T, s *fixture, f *runningEngine) {
		s.restarted = true
		s.runtime.Handle(unboundedMethod, func(stream grpc.ServerStream) error {
			if err := proxytest.Send(stream, []byte("first")); err != nil {
				return err
			}
			<-stream.Context().Done()
			return stream.Context().Err()
		})
		stream, err := proxytest.Open(s.ctx, s.dial(), unboundedMethod)
		if err != nil {
			t.Fatal(err)
		}
		listening := &call{stream, t}
		listening.send([]byte("request"))
		listening.expect("first")
		if err := f.Shutdown(s.ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if _, err := proxytest.Receive(stream); status.Code(err) != codes.Unavailable {
			t.Errorf("the unbounded call ended with %v, want Unavailable", err)
		}
		for call := range seen {
			if call.Method == unboundedMethod {
				if call.Code != codes.Unavailable {
					t.Errorf("the call is reported as %v", call.Err)
				}
				break
			}
		}
	})
}
