package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/intercept"
	"image-cri-shim/proxy/proxytest"
)

func stream(handle intercept.Stream) intercept.Interceptors {
	return intercept.Interceptors{Stream: map[string]intercept.Stream{method: handle}}
}

// replace is an interceptor that sends its own request and changes each message.
func replace(request string, transform intercept.Transform) intercept.Interceptors {
	return stream(func(context.Context, []byte, intercept.Invoke) ([]byte, intercept.Transform, error) {
		return []byte(request), transform, nil
	})
}

func exclaim(message []byte) ([]byte, error) { return fmt.Appendf(nil, "%s!", message), nil }

// ask opens a call of method with one request, as a client of a server stream does.
func (s *fixture) ask(ctx context.Context, request string) *call {
	s.t.Helper()
	c := s.open(ctx)
	c.send([]byte(request))
	c.closeSend()
	return c
}

// count answers with three messages, the request and a number in each. It sends each one after
// the previous one has arrived.
func count(arrived <-chan struct{}) proxytest.Handler {
	return func(stream grpc.ServerStream) error {
		request, err := proxytest.Receive(stream)
		if err != nil {
			return err
		}
		if err := receiveEnd(stream); err != nil {
			return err
		}
		for number := range 3 {
			if err := proxytest.Send(stream, fmt.Appendf(nil, "%s %d", request, number)); err != nil {
				return err
			}
			select {
			case <-arrived:
			case <-stream.Context().Done():
				return stream.Context().Err()
			}
		}
		return nil
	}
}

func TestStreamInterceptor(t *testing.T) {
	tests := map[string]struct {
		transform intercept.Transform
		mark      string
	}{
		"transform":    {exclaim, "!"},
		"no transform": {nil, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			forEachEngineWith(t, replace("changed", test.transform), func(t *testing.T, s *fixture) {
				arrived := make(chan struct{})
				s.handle(count(arrived))
				c := s.ask(s.ctx, "request")
				for number := range 3 {
					c.expect(fmt.Sprintf("changed %d%s", number, test.mark))
					arrived <- struct{}{}
				}
				c.expectEnd()
			})
		})
	}
}

func TestStreamInterceptorSeesRawBytes(t *testing.T) {
	malformed := "\x0a\xff\x00"
	handle := func(_ context.Context, request []byte, _ intercept.Invoke) ([]byte, intercept.Transform, error) {
		if string(request) != malformed {
			return nil, nil, fmt.Errorf("the interceptor saw %q", request)
		}
		return request, func(message []byte) ([]byte, error) {
			if string(message) != malformed {
				return nil, fmt.Errorf("the transform saw %q", message)
			}
			return message, nil
		}, nil
	}
	forEachEngineWith(t, stream(handle), func(t *testing.T, s *fixture) {
		s.handle(echo)
		c := s.ask(s.ctx, malformed)
		c.expect(malformed)
		c.expectEnd()
	})
}

// A transform is notified of the end of a stream only if the stream ends without an error. An
// empty message is not the end.
func TestStreamInterceptorSeesTheEnd(t *testing.T) {
	for _, failure := range []error{nil, status.Error(codes.Internal, "broken off")} {
		seen := make(chan string, 10)
		handle := func(_ context.Context, request []byte, _ intercept.Invoke) ([]byte, intercept.Transform, error) {
			return request, func(message []byte) ([]byte, error) {
				if message == nil {
					seen <- "the end"
				} else {
					seen <- "message " + string(message)
				}
				return message, nil
			}, nil
		}
		forEachEngineWith(t, stream(handle), func(t *testing.T, s *fixture) {
			s.handle(func(stream grpc.ServerStream) error {
				if _, err := proxytest.Receive(stream); err != nil {
					return err
				}
				for _, message := range []string{"", "last"} {
					if err := proxytest.Send(stream, []byte(message)); err != nil {
						return err
					}
				}
				return failure
			})
			c := s.ask(s.ctx, "asked")
			c.expect("")
			c.expect("last")
			want := []string{"message ", "message last"}
			if failure == nil {
				c.expectEnd()
				want = append(want, "the end")
			} else if _, err := proxytest.Receive(c); status.Code(err) != codes.Internal {
				t.Errorf("the call ends with %v", err)
			}
			for _, one := range want {
				if got := <-seen; got != one {
					t.Errorf("the transform saw %q, want %q", got, one)
				}
			}
			if len(seen) > 0 {
				t.Errorf("the transform also saw %q", <-seen)
			}
		})
	}
}

// An interceptor of a stream can make unary calls before it.
func TestStreamInterceptorCallsTheRuntime(t *testing.T) {
	const other = "/conformance.v1.Other/Method"
	handle := func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, intercept.Transform, error) {
		answer, err := invoke(ctx, other, request)
		return append(answer, " twice"...), nil, err
	}
	forEachEngineWith(t, stream(handle), func(t *testing.T, s *fixture) {
		s.handle(echo)
		s.runtime.Handle(other, echo)
		c := s.ask(s.ctx, "asked")
		c.expect("asked twice")
		c.expectEnd()
	})
}

// Metadata passes in both directions, and headers arrive before the first message.
func TestStreamInterceptorPassesMetadataOn(t *testing.T) {
	forEachEngineWith(t, replace("changed", exclaim), func(t *testing.T, s *fixture) {
		received, arrived := make(chan metadata.MD, 1), make(chan struct{})
		s.handle(func(stream grpc.ServerStream) error {
			request, _ := metadata.FromIncomingContext(stream.Context())
			received <- request
			stream.SetTrailer(sample("trailer"))
			if err := stream.SendHeader(sample("header")); err != nil {
				return err
			}
			select {
			case <-arrived:
			case <-stream.Context().Done():
			}
			return echo(stream)
		})
		c := s.ask(metadata.NewOutgoingContext(s.ctx, sample("request")), "request")
		header, err := c.Header()
		if err != nil {
			t.Fatal(err)
		}
		expectHeader(t, header, sample("header"))
		close(arrived)
		c.expect("changed!")
		c.expectEnd()
		expectMetadata(t, "trailer", c.Trailer(), sample("trailer"))
		expectMetadata(t, "request", await(t, "the runtime is called", received), sample("request"),
			":authority", "content-type", "user-agent", "grpc-accept-encoding")
	})
}

// Kubelet falls back to a unary method if the runtime answers Unimplemented.
func TestStreamInterceptorPassesErrorsOn(t *testing.T) {
	forEachEngineWith(t, replace("changed", exclaim), func(t *testing.T, s *fixture) {
		c := s.ask(s.ctx, "request")
		_, err := proxytest.Receive(c)
		expectStatus(t, err, status.New(codes.Unimplemented, "the runtime has no method "+method))

		want := detailed(t, codes.Aborted, "halfway")
		s.handle(func(stream grpc.ServerStream) error {
			if err := proxytest.Send(stream, []byte("first")); err != nil {
				return err
			}
			stream.SetTrailer(sample("trailer"))
			return want.Err()
		})
		c = s.ask(s.ctx, "request")
		c.expect("first!")
		_, err = proxytest.Receive(c)
		expectStatus(t, err, want)
		expectMetadata(t, "trailer", c.Trailer(), sample("trailer"), "grpc-status-details-bin")
	})
}

// An error of the interceptor or of its transform ends both sides of the call.
func TestStreamInterceptorsOwnError(t *testing.T) {
	refusal := status.New(codes.PermissionDenied, "no")
	tests := map[string]intercept.Interceptors{
		"interceptor": stream(func(context.Context, []byte, intercept.Invoke) ([]byte, intercept.Transform, error) {
			return nil, nil, refusal.Err()
		}),
		"transform": replace("changed", func([]byte) ([]byte, error) { return nil, refusal.Err() }),
	}
	for name, interceptors := range tests {
		t.Run(name, func(t *testing.T) {
			forEachEngineWith(t, interceptors, func(t *testing.T, s *fixture) {
				s.handle(count(nil))
				_, err := proxytest.Receive(s.ask(s.ctx, "request"))
				expectStatus(t, err, refusal)
				eventually(t, "the runtime's call ends", func() bool { return s.runtime.Calls() == 0 })
			})
		})
	}
}

func TestStreamInterceptorIsCancelled(t *testing.T) {
	forEachEngineWith(t, replace("changed", exclaim), func(t *testing.T, s *fixture) {
		started, ended := make(chan struct{}, 1), make(chan ending, 1)
		s.handle(awaitEnding(started, ended))
		ctx, cancel := context.WithCancel(s.ctx)
		defer cancel()
		c := s.ask(ctx, "request")
		await(t, "the runtime is called", started)
		cancel()
		if _, err := proxytest.Receive(c); status.Code(err) != codes.Canceled {
			t.Errorf("the client got %v, want Canceled", err)
		}
		if end := await(t, "the cancel reaches the runtime", ended); !errors.Is(end.context, context.Canceled) {
			t.Errorf("the runtime's context ended with %v", end.context)
		}
	})
}

func TestStreamInterceptorTransformsManyMessages(t *testing.T) {
	const messages = 10_000
	forEachEngineWith(t, replace("changed", exclaim), func(t *testing.T, s *fixture) {
		s.handle(func(stream grpc.ServerStream) error {
			for number := range messages {
				if err := proxytest.Send(stream, fmt.Append(nil, number)); err != nil {
					return err
				}
			}
			return nil
		})
		c := s.ask(s.ctx, "request")
		for number := range messages {
			c.expect(fmt.Sprintf("%d!", number))
		}
		c.expectEnd()
	})
}
