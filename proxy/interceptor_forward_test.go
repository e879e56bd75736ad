package proxy_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"

	"image-cri-shim/proxy"
	"image-cri-shim/proxy/intercept"
)

// forwarded returns interceptors of method that put the request before each answer, except for
// an answer that begins with "same". If the request is "ask", they also ask the runtime for a
// mark. unaryCalls counts the calls that were not forwarded as they arrived.
func forwarded() (interceptors intercept.Interceptors, unaryCalls *atomic.Int64) {
	unaryCalls = new(atomic.Int64)
	isSame := func(response []byte) bool { return bytes.HasPrefix(response, []byte("same")) }
	restore := func(ctx context.Context, request, response []byte, invoke intercept.Invoke) []byte {
		if isSame(response) {
			return response
		}
		restored := slices.Concat(request, response)
		if string(request) == "ask" {
			mark, err := invoke(ctx, other, []byte("?"))
			if err != nil {
				return nil
			}
			restored = append(restored, mark...)
		}
		return restored
	}
	interceptors = unary(func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
		unaryCalls.Add(1)
		response, err := invoke(ctx, method, request)
		if err != nil {
			return nil, err
		}
		return restore(ctx, request, response, invoke), nil
	})
	interceptors.Forward = map[string]intercept.Forward{method: func() (intercept.Forwarding, bool) {
		return intercept.Forwarding{Unchanged: isSame, Restore: restore}, true
	}}
	return interceptors, unaryCalls
}

// TestForward makes calls with answers that pass, are restored, or are larger than windows. An
// engine without the shortcut must give the same answers.
func TestForward(t *testing.T) {
	forEachEngine(t, func(t *testing.T, under engineUnderTest) {
		interceptors, unaryCalls := forwarded()
		runtime := startRuntime(t)
		engine := runEngine(t, under, proxy.Options{Runtime: runtime.Socket(), Interceptors: interceptors})
		engine.awaitRuntime(t)
		s := newFixture(t, runtime, engine.socket, engine.connections.Open)
		s.handle(echo)
		s.runtime.Handle(other, echo)
		large := strings.Repeat("x", 1<<20)
		for _, test := range []struct {
			request, want string
			options       []grpc.CallOption
			long          int64
		}{
			{"same", "same", nil, 0},
			{"same" + large, "same" + large, nil, 0},
			{"new", "newnew", nil, 0},
			{"new" + large, "new" + large + "new" + large, nil, 0},
			{"ask", "askask?", nil, 0},
			{"", "", nil, 0},
			{"same", "same", []grpc.CallOption{grpc.UseCompressor(gzip.Name)}, 1},
			{"new", "newnew", []grpc.CallOption{grpc.UseCompressor(gzip.Name)}, 1},
		} {
			before := unaryCalls.Load()
			response, err := s.invoke(s.ctx, []byte(test.request), test.options...)
			if err != nil || string(response) != test.want {
				t.Errorf("%.20q: got %.20q, %v", test.request, response, err)
			}
			if under.name != string(proxy.EngineGRPC) && unaryCalls.Load()-before != test.long {
				t.Errorf("%.20q reached the unary interceptor %d times, want %d", test.request, unaryCalls.Load()-before, test.long)
			}
		}
	})
}
