package proxy_test

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/intercept"
)

// TestInterceptorDistinguishesCancellation requires that an interceptor can tell a call that its client has
// canceled from one whose runtime died.
func TestInterceptorDistinguishesCancellation(t *testing.T) {
	type end struct {
		code     codes.Code
		canceled bool
	}
	for name, want := range map[string]end{"cancel": {codes.Canceled, true}, "death": {codes.Unavailable, false}} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan end, 1)
			observe := func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
				response, err := invoke(ctx, method, request)
				seen <- end{status.Code(err), errors.Is(context.Cause(ctx), context.Canceled)}
				return response, err
			}
			forEachEngineWith(t, unary(observe), func(t *testing.T, s *fixture) {
				started, ended := make(chan struct{}, 1), make(chan ending, 1)
				s.handle(awaitEnding(started, ended))
				s.client()
				ctx, cancel := context.WithCancel(s.ctx)
				defer cancel()
				result := make(chan error, 1)
				go func() {
					_, err := s.invoke(ctx, nil)
					result <- err
				}()
				await(t, "the runtime is called", started)
				if name == "cancel" {
					cancel()
				} else {
					s.stopRuntime()
				}
				if got := await(t, "the interceptor's call ends", seen); got != want {
					t.Errorf("the interceptor got %+v, want %+v", got, want)
				}
				await(t, "the client's call ends", result)
				await(t, "the runtime's call ends", ended)
				if name == "death" {
					s.startRuntime()
				}
			})
		})
	}
}
