package proxy_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"image-cri-shim/proxy"
	"image-cri-shim/proxy/intercept"
	"image-cri-shim/proxy/proxytest"
)

// TestRuntimeLimitsStreams has 20 clients make 10 concurrent calls each to a runtime that
// accepts only a few per connection. Every call is answered. An interceptor calls the runtime
// twice for each of its calls.
func TestRuntimeLimitsStreams(t *testing.T) {
	const intercepted = "/conformance.v1.Service/Taken"
	for _, limit := range []uint32{1, 3, 10, 50} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			forEachEngine(t, func(t *testing.T, under engineUnderTest) {
				runtime := startRuntime(t, grpc.MaxConcurrentStreams(limit))
				for _, method := range []string{method, intercepted} {
					runtime.Handle(method, slowEcho)
				}
				engine := runEngine(t, under, proxy.Options{
					Runtime: runtime.Socket(),
					Interceptors: intercept.Interceptors{Unary: map[string]intercept.Unary{
						intercepted: func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
							if _, err := invoke(ctx, method, request); err != nil {
								return nil, fmt.Errorf("before: %w", err)
							}
							return invoke(ctx, intercepted, request)
						},
					}},
				})
				ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
				defer cancel()
				var running sync.WaitGroup
				for range 20 {
					client, err := proxytest.Dial(engine.socket)
					if err != nil {
						t.Fatal(err)
					}
					defer client.Close()
					for i := range 10 {
						running.Go(func() {
							want := fmt.Sprint("pull ", i)
							called := []string{intercepted, method}[i/8] // most of them are intercepted
							if got, err := proxytest.Invoke(ctx, client, called, []byte(want)); err != nil || string(got) != want {
								t.Errorf("%s: got %q, %v", called, got, err)
							}
						})
					}
				}
				running.Wait()
			})
		})
	}
}

// slowEcho answers after a short time, so that calls overlap.
func slowEcho(stream grpc.ServerStream) error {
	message, err := proxytest.Receive(stream)
	if err != nil {
		return err
	}
	time.Sleep(2 * time.Millisecond)
	return proxytest.Send(stream, message)
}
