package proxy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy"
	"image-cri-shim/proxy/proxytest"
)

// While the runtime is down, every call fails immediately and names the runtime's socket, even
// calls that wait for readiness: the shim is ready. Clients that connected before or during the
// outage are both served again soon after the runtime's return.
func TestRuntimeIsUnavailableForAllClients(t *testing.T) {
	forEachEngine(t, func(t *testing.T, under engineUnderTest) {
		runtime := startRuntime(t)
		runtime.Handle(method, echo)
		engine := runEngine(t, under, proxy.Options{Runtime: runtime.Socket()})
		engine.awaitRuntime(t)
		before := dialEngine(t, engine)
		if _, err := proxytest.Invoke(t.Context(), before, method, nil); err != nil {
			t.Fatal(err)
		}
		if err := runtime.Stop(); err != nil {
			t.Fatal(err)
		}
		_, _ = proxytest.Invoke(t.Context(), before, method, nil) // notices that the connection has ended
		clients := map[string]*grpc.ClientConn{"of before": before, "new": dialEngine(t, engine)}
		for name, client := range clients {
			for _, waits := range []bool{false, true} {
				expectUnavailable(t, client, name, waits, runtime.Socket())
			}
		}
		if err := runtime.Start(); err != nil {
			t.Fatal(err)
		}
		for name, client := range clients {
			expectServed(t, client, name, grpc.WaitForReady(true))
		}
	})
}

func dialEngine(t *testing.T, engine *runningEngine) *grpc.ClientConn {
	t.Helper()
	client, err := proxytest.Dial(engine.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func expectUnavailable(t *testing.T, client *grpc.ClientConn, name string, waits bool, socket string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	start := time.Now()
	_, err := proxytest.Invoke(ctx, client, method, nil, grpc.WaitForReady(waits))
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), socket) {
		t.Errorf("client %s, wait for ready %v: got %v, want Unavailable that names %s", name, waits, err, socket)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("client %s, wait for ready %v: the call took %v to fail", name, waits, took)
	}
}

// expectServed retries a call until the runtime answers it.
func expectServed(t *testing.T, client *grpc.ClientConn, name string, options ...grpc.CallOption) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), recoveryTimeout)
	defer cancel()
	for {
		_, err := proxytest.Invoke(ctx, client, method, nil, options...)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("client %s: %v after the runtime's return: %v", name, recoveryTimeout, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
