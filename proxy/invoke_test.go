package proxy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy"
	"image-cri-shim/proxy/proxytest"
)

// The shim calls the runtime for itself, as a client would.
func TestServerInvoke(t *testing.T) {
	forEachEngine(t, func(t *testing.T, under engineUnderTest) {
		runtime := startRuntime(t)
		engine := runEngine(t, under, proxy.Options{Runtime: runtime.Socket()})
		runtime.Handle(method, func(stream grpc.ServerStream) error {
			request, _ := metadata.FromIncomingContext(stream.Context())
			if authority := strings.Join(request[":authority"], " "); authority != "localhost" {
				t.Errorf("the runtime sees the authority %q", authority)
			}
			return echo(stream)
		})
		large := noise(8 << 20)
		for _, request := range [][]byte{{}, []byte("request"), large} {
			response, err := engine.Invoke(t.Context(), method, request)
			if string(response) != string(request) || err != nil {
				t.Errorf("asked with %d bytes: got %d, %v", len(request), len(response), err)
			}
		}
		refusal := detailed(t, codes.NotFound, "no such image")
		runtime.Handle(method, func(grpc.ServerStream) error { return refusal.Err() })
		_, err := engine.Invoke(t.Context(), method, nil)
		expectStatus(t, err, refusal)

		started, ended := make(chan struct{}, 1), make(chan ending, 1)
		runtime.Handle(method, awaitEnding(started, ended))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := engine.Invoke(ctx, method, nil); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("after its time: %v, want DeadlineExceeded", err)
		}
		await(t, "the runtime's call ends", ended)
		_ = engine.Close()
	})
}

// While the runtime is down, the error of the shim's own calls names the socket. Once it is
// back, they succeed.
func TestServerInvokeWithoutRuntime(t *testing.T) {
	forEachEngine(t, func(t *testing.T, under engineUnderTest) {
		runtime := proxytest.NewRuntime(temporarySocket(t))
		runtime.Handle(method, echo)
		engine := runEngine(t, under, proxy.Options{Runtime: runtime.Socket()})
		expectAbsent := func() {
			t.Helper()
			_, err := engine.Invoke(t.Context(), method, nil)
			if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), runtime.Socket()) {
				t.Errorf("got %v, want Unavailable that names %s", err, runtime.Socket())
			}
		}
		for range 3 {
			expectAbsent()
			if err := runtime.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the runtime is asked", func() bool {
				response, err := engine.Invoke(t.Context(), method, []byte("request"))
				return string(response) == "request" && err == nil
			})
			if err := runtime.Stop(); err != nil {
				t.Fatal(err)
			}
			_, _ = engine.Invoke(t.Context(), method, nil) // may be the call that notices
		}
		expectAbsent()
	})
}
