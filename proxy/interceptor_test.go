package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy"
	"image-cri-shim/proxy/intercept"
	"image-cri-shim/proxy/proxytest"
)

// forEachEngineWith runs every engine with an interceptor of method.
func forEachEngineWith(t *testing.T, interceptors intercept.Interceptors, check func(*testing.T, *fixture)) {
	forEachEngine(t, func(t *testing.T, under engineUnderTest) {
		runtime := startRuntime(t)
		engine := runEngine(t, under, proxy.Options{Runtime: runtime.Socket(), Interceptors: interceptors})
		engine.awaitRuntime(t)
		check(t, newFixture(t, runtime, engine.socket, engine.connections.Open))
	})
}

func unary(handle intercept.Unary) intercept.Interceptors {
	return intercept.Interceptors{Unary: map[string]intercept.Unary{method: handle}}
}

// passOn forwards the call unchanged.
func passOn(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
	return invoke(ctx, method, request)
}

func TestUnaryInterceptor(t *testing.T) {
	handle := func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
		response, err := invoke(ctx, method, fmt.Appendf(nil, "changed %s", request))
		return fmt.Appendf(nil, "changed %s", response), err
	}
	forEachEngineWith(t, unary(handle), func(t *testing.T, s *fixture) {
		s.handle(func(stream grpc.ServerStream) error {
			request, err := proxytest.Receive(stream)
			if err != nil {
				return err
			}
			if err := receiveEnd(stream); err != nil {
				return err
			}
			return proxytest.Send(stream, fmt.Appendf(nil, "answer to %s", request))
		})
		response, err := s.invoke(s.ctx, []byte("question"))
		if string(response) != "changed answer to changed question" || err != nil {
			t.Errorf("got %q, %v", response, err)
		}
	})
}

// The interceptor does not get other methods, even of the same service.
func TestInterceptorLeavesOtherMethods(t *testing.T) {
	handle := func(context.Context, []byte, intercept.Invoke) ([]byte, error) { return []byte("intercepted"), nil }
	forEachEngineWith(t, unary(handle), func(t *testing.T, s *fixture) {
		s.handle(echo)
		response, err := s.invoke(s.ctx, []byte("request"))
		if string(response) != "intercepted" || err != nil {
			t.Errorf("%s: got %q, %v", method, response, err)
		}
		for _, other := range []string{method + "s", "/conformance.v1alpha2.Service/Method"} {
			s.runtime.Handle(other, echo)
			response, err := proxytest.Invoke(s.ctx, s.client(), other, []byte("request"))
			if string(response) != "request" || err != nil {
				t.Errorf("%s: got %q, %v", other, response, err)
			}
		}
	})
}

// An interceptor may make several calls to the runtime, also at the same time, or none.
func TestInterceptorCallsTheRuntimeOften(t *testing.T) {
	const other = "/conformance.v1.Other/Method"
	handle := func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
		answers := make(chan []byte, 2)
		for range 2 {
			go func() {
				answer, err := invoke(ctx, other, request)
				answers <- fmt.Appendf(answer, " %v;", err)
			}()
		}
		all := append(<-answers, <-answers...)
		_, err := invoke(ctx, "/no/such", request)
		return fmt.Appendf(all, " %v", status.Code(err)), nil
	}
	forEachEngineWith(t, unary(handle), func(t *testing.T, s *fixture) {
		s.runtime.Handle(other, echo)
		response, err := s.invoke(s.ctx, []byte("x"))
		if want := "x <nil>;x <nil>; Unimplemented"; string(response) != want || err != nil {
			t.Errorf("got %q, %v, want %q", response, err, want)
		}
	})
}

// Arbitrary bytes of the client and of the runtime pass unchanged.
func TestInterceptorSeesRawBytes(t *testing.T) {
	payloads := map[string][]byte{
		"empty":     {},
		"malformed": {0x0a, 0xff, 0x00},
		"8 MiB":     noise(8 << 20), // twice grpc-go's own limit
	}
	for name, payload := range payloads {
		t.Run(name, func(t *testing.T) {
			handle := func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
				if !bytes.Equal(request, payload) {
					return nil, fmt.Errorf("the interceptor got %d bytes that differ from the client's", len(request))
				}
				return invoke(ctx, method, request)
			}
			forEachEngineWith(t, unary(handle), func(t *testing.T, s *fixture) {
				s.handle(echo)
				for _, options := range [][]grpc.CallOption{nil, {grpc.UseCompressor(gzip.Name)}} {
					if len(options) > 0 && len(payload) > 1<<20 {
						continue // compression is slow
					}
					response, err := s.invoke(s.ctx, payload, options...)
					if err != nil || !bytes.Equal(response, payload) {
						t.Errorf("%d bytes came back changed as %d, error %v", len(payload), len(response), err)
					}
				}
			})
		})
	}
}

// The runtime's error reaches the client unchanged, with its metadata.
func TestInterceptorPassesErrorsOn(t *testing.T) {
	forEachEngineWith(t, unary(passOn), func(t *testing.T, s *fixture) {
		want := detailed(t, codes.NotFound, "größer\n100%")
		s.handle(func(stream grpc.ServerStream) error {
			if err := stream.SendHeader(sample("header")); err != nil {
				return err
			}
			stream.SetTrailer(sample("trailer"))
			return want.Err()
		})
		var header, trailer metadata.MD
		_, err := s.invoke(s.ctx, nil, grpc.Header(&header), grpc.Trailer(&trailer))
		expectStatus(t, err, want)
		expectHeader(t, header, sample("header"))
		expectMetadata(t, "trailer", trailer, sample("trailer"), "grpc-status-details-bin")
	})
}

func TestInterceptorsOwnError(t *testing.T) {
	tests := map[string]struct {
		err  error
		want *status.Status
	}{
		"status":  {detailed(t, codes.ResourceExhausted, "no").Err(), detailed(t, codes.ResourceExhausted, "no")},
		"wrapped": {fmt.Errorf("more: %w", status.Error(codes.NotFound, "no")), status.New(codes.NotFound, "more: rpc error: code = NotFound desc = no")},
		"plain":   {errors.New("no"), status.New(codes.Unknown, "no")},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			handle := func(context.Context, []byte, intercept.Invoke) ([]byte, error) { return nil, test.err }
			forEachEngineWith(t, unary(handle), func(t *testing.T, s *fixture) {
				_, err := s.invoke(s.ctx, nil)
				expectStatus(t, err, test.want)
			})
		})
	}
}

func TestInterceptorPassesMetadataAndDeadlineOn(t *testing.T) {
	forEachEngineWith(t, unary(passOn), func(t *testing.T, s *fixture) {
		type seen struct {
			request   metadata.MD
			remaining time.Duration
		}
		received := make(chan seen, 1)
		s.handle(func(stream grpc.ServerStream) error {
			request, _ := metadata.FromIncomingContext(stream.Context())
			deadline, _ := stream.Context().Deadline()
			received <- seen{request, time.Until(deadline)}
			if err := stream.SetHeader(sample("header")); err != nil {
				return err
			}
			stream.SetTrailer(sample("trailer"))
			return echo(stream)
		})
		s.dial(grpc.WithAuthority("containerd.example"))
		ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(s.ctx, sample("request")), time.Hour)
		defer cancel()
		var header, trailer metadata.MD
		if _, err := s.invoke(ctx, nil, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
			t.Fatal(err)
		}
		expectHeader(t, header, sample("header"))
		expectMetadata(t, "trailer", trailer, sample("trailer"))

		at := await(t, "the runtime is called", received)
		expectMetadata(t, "request", at.request, sample("request"),
			":authority", "content-type", "user-agent", "grpc-accept-encoding")
		if authority := at.request.Get(":authority"); len(authority) != 1 || authority[0] != "containerd.example" {
			t.Errorf("the runtime sees the authority %q", authority)
		}
		if at.remaining > time.Hour || at.remaining < 59*time.Minute {
			t.Errorf("the runtime sees %v left of an hour", at.remaining)
		}
	})
}

// A header without application fields is still sent as a header, even if the call fails after
// it.
func TestInterceptorPassesAnEmptyHeaderOn(t *testing.T) {
	forEachEngineWith(t, unary(passOn), func(t *testing.T, s *fixture) {
		refusal := status.New(codes.NotFound, "no such image")
		s.handle(func(stream grpc.ServerStream) error {
			if err := stream.SendHeader(nil); err != nil {
				return err
			}
			return refusal.Err()
		})
		var header metadata.MD
		_, err := s.invoke(s.ctx, nil, grpc.Header(&header))
		expectStatus(t, err, refusal)
		expectHeader(t, header, nil)
	})
}

// If the client cancels, the interceptor's calls to the runtime end.
func TestInterceptorIsCancelled(t *testing.T) {
	tests := map[string]struct {
		begin func(context.Context) (context.Context, context.CancelFunc)
		want  codes.Code
	}{
		"cancel": {context.WithCancel, codes.Canceled},
		"deadline": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 300*time.Millisecond)
		}, codes.DeadlineExceeded},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			forEachEngineWith(t, unary(passOn), func(t *testing.T, s *fixture) {
				started, ended := make(chan struct{}, 1), make(chan ending, 1)
				s.handle(awaitEnding(started, ended))
				s.client()
				ctx, cancel := test.begin(s.ctx)
				defer cancel()
				result := make(chan error, 1)
				go func() {
					_, err := s.invoke(ctx, nil)
					result <- err
				}()
				await(t, "the runtime is called", started)
				if test.want == codes.Canceled {
					cancel()
				}
				if err := await(t, "the client's call ends", result); status.Code(err) != test.want {
					t.Errorf("the client got %v, want %v", err, test.want)
				}
				await(t, "the runtime's call ends", ended)
			})
		})
	}
}
