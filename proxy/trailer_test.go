package proxy_test

import (
	"context"
	"runtime"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"image-cri-shim/proxy"
	"image-cri-shim/proxy/intercept"
	"image-cri-shim/proxy/proxytest"
)

// A client that disconnects while the runtime is sending its trailers must not make the proxy
// read them at the same moment (for the race detector).
func TestClientLeavesAtTheEnd(t *testing.T) {
	pass := func(_ context.Context, request []byte, _ intercept.Invoke) ([]byte, intercept.Transform, error) {
		return request, nil, nil
	}
	for name, interceptors := range map[string]intercept.Interceptors{
		"forwarded":   {},
		"intercepted": {Stream: map[string]intercept.Stream{method: pass}},
	} {
		t.Run(name, func(t *testing.T) {
			forEachRunningEngine(t, proxy.Options{Interceptors: interceptors}, func(t *testing.T, s *fixture, _ *runningEngine) {
				s.handle(func(stream grpc.ServerStream) error {
					stream.SetTrailer(metadata.Pairs("at", "the end"))
					for range 100 {
						if err := proxytest.Send(stream, make([]byte, 100)); err != nil {
							return err
						}
					}
					return nil
				})
				connection := s.client()
				for round := range 1500 {
					ctx, cancel := context.WithCancel(s.ctx)
					stream, err := proxytest.Open(ctx, connection, method)
					if err != nil {
						t.Fatal(err)
					}
					_ = proxytest.Send(stream, []byte(message)) // the runtime may be done already
					_ = stream.CloseSend()
					if _, err := proxytest.Receive(stream); err != nil {
						t.Fatal(err)
					}
					for range round % 50 * 20 { // disconnect a little later each time
						runtime.Gosched()
					}
					cancel()
				}
			})
		})
	}
}
