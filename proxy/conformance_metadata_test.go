package proxy_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/proxytest"
)

// sample has binary values, repeated keys, and characters that careless encodings break.
func sample(prefix string) metadata.MD {
	return metadata.Pairs(
		prefix+"-text", "plain",
		prefix+"-empty", "",
		prefix+"-comma", "a, b,c",
		prefix+"-repeated", "second to none",
		prefix+"-repeated", "first",
		prefix+"-repeated", "first",
		prefix+"-data-bin", "\x00\x01\xfe\xff",
		prefix+"-data-bin", "",
		prefix+"-data-bin", "with, comma",
		"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	)
}

// expectMetadata checks that got contains want and the transport's own keys, and nothing else.
func expectMetadata(t *testing.T, what string, got, want metadata.MD, own ...string) {
	t.Helper()
	got = got.Copy()
	for _, key := range own {
		delete(got, key)
	}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%s: got %q, want %q", what, map[string][]string(got), map[string][]string(want))
	}
}

// expectHeader is expectMetadata for response headers.
func expectHeader(t *testing.T, got, want metadata.MD) {
	t.Helper()
	expectMetadata(t, "header", got, want, "content-type")
	if contentType := got.Get("content-type"); !slices.Equal(contentType, []string{"application/grpc"}) {
		t.Errorf("content-type of the response: %q", contentType)
	}
}

func TestRequestMetadata(t *testing.T) {
	forEachTarget(t, func(t *testing.T, s *fixture) {
		received := make(chan metadata.MD, 1)
		s.handle(func(stream grpc.ServerStream) error {
			request, _ := metadata.FromIncomingContext(stream.Context())
			received <- request
			return echo(stream)
		})
		if _, err := s.invoke(metadata.NewOutgoingContext(s.ctx, sample("request")), nil); err != nil {
			t.Fatal(err)
		}
		request := await(t, "the runtime is called", received)
		expectMetadata(t, "request", request, sample("request"),
			":authority", "content-type", "user-agent", "grpc-accept-encoding")
		if contentType := request.Get("content-type"); !slices.Equal(contentType, []string{"application/grpc"}) {
			t.Errorf("content-type of the request: %q", contentType)
		}
	})
}

func TestAuthority(t *testing.T) {
	for _, authority := range []string{"localhost", "containerd.example:1234"} {
		t.Run(authority, func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, s *fixture) {
				s.handle(func(stream grpc.ServerStream) error {
					seen := metadata.ValueFromIncomingContext(stream.Context(), ":authority")
					return proxytest.Send(stream, fmt.Append(nil, seen))
				})
				s.dial(grpc.WithAuthority(authority))
				seen, err := s.invoke(s.ctx, nil)
				if err != nil {
					t.Fatal(err)
				}
				if want := fmt.Sprint([]string{authority}); string(seen) != want {
					t.Errorf("the runtime sees :authority %s, want %s", seen, want)
				}
			})
		})
	}
}

func TestResponseMetadata(t *testing.T) {
	forEachTarget(t, func(t *testing.T, s *fixture) {
		s.handle(func(stream grpc.ServerStream) error {
			if err := stream.SetHeader(sample("header")); err != nil {
				return err
			}
			stream.SetTrailer(sample("trailer"))
			return echo(stream)
		})
		var header, trailer metadata.MD
		if _, err := s.invoke(s.ctx, nil, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
			t.Fatal(err)
		}
		expectHeader(t, header, sample("header"))
		expectMetadata(t, "trailer", trailer, sample("trailer"))
	})
}

// The client sees headers while the call is open and before either side has sent a message.
func TestHeaderBeforeAnyMessage(t *testing.T) {
	for _, want := range []metadata.MD{{}, sample("early")} {
		t.Run(fmt.Sprintf("%d keys", len(want)), func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, s *fixture) {
				s.handle(func(stream grpc.ServerStream) error {
					if err := stream.SendHeader(want); err != nil {
						return err
					}
					return echo(stream)
				})
				c := s.open(s.ctx)
				header, err := c.Header()
				if err != nil {
					t.Fatal(err)
				}
				expectHeader(t, header, want)
				c.send([]byte("the call goes on"))
				c.expect("the call goes on")
				c.closeSend()
				c.expectEnd()
			})
		})
	}
}

// Header, trailer and status all arrive if the runtime fails early.
func TestMetadataOfAnEarlyFailure(t *testing.T) {
	tests := []struct {
		name       string
		header     func(grpc.ServerStream) error
		wantHeader bool
	}{
		{"header sent", func(stream grpc.ServerStream) error { return stream.SendHeader(sample("header")) }, true},
		{"header set", func(stream grpc.ServerStream) error { return stream.SetHeader(sample("header")) }, true},
		{"trailers only", func(grpc.ServerStream) error { return nil }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forEachTarget(t, func(t *testing.T, s *fixture) {
				s.handle(func(stream grpc.ServerStream) error {
					if err := test.header(stream); err != nil {
						return err
					}
					stream.SetTrailer(sample("trailer"))
					return status.Error(codes.FailedPrecondition, "not now")
				})
				c := s.open(s.ctx)
				_, err := proxytest.Receive(c)
				expectStatus(t, err, status.New(codes.FailedPrecondition, "not now"))
				header, err := c.Header()
				if err != nil {
					t.Fatal(err)
				}
				if test.wantHeader {
					expectHeader(t, header, sample("header"))
				} else if header != nil {
					t.Errorf("header of a response with trailers only: %q", map[string][]string(header))
				}
				expectMetadata(t, "trailer", c.Trailer(), sample("trailer"), "content-type")

				var trailer metadata.MD
				_, err = s.invoke(s.ctx, nil, grpc.Header(&header), grpc.Trailer(&trailer))
				expectStatus(t, err, status.New(codes.FailedPrecondition, "not now"))
				expectMetadata(t, "trailer of the unary call", trailer, sample("trailer"), "content-type")
				if test.wantHeader {
					expectHeader(t, header, sample("header"))
				}
			})
		})
	}
}

// 100 KiB in one value and in many keys, in both directions.
func TestLargeMetadata(t *testing.T) {
	large := metadata.Pairs("large", strings.Repeat("x", 100<<10))
	for number := range 1000 {
		large.Append(fmt.Sprintf("key-%d", number), strings.Repeat("y", 100))
	}
	forEachTarget(t, func(t *testing.T, s *fixture) {
		s.handle(func(stream grpc.ServerStream) error {
			request, _ := metadata.FromIncomingContext(stream.Context())
			answer := metadata.MD{}
			for key := range large {
				answer[key] = request[key]
			}
			stream.SetTrailer(answer)
			if err := stream.SendHeader(answer); err != nil {
				return err
			}
			return echo(stream)
		})
		var header, trailer metadata.MD
		_, err := s.invoke(metadata.NewOutgoingContext(s.ctx, large), nil, grpc.Header(&header), grpc.Trailer(&trailer))
		if err != nil {
			t.Fatal(err)
		}
		expectHeader(t, header, large)
		expectMetadata(t, "trailer", trailer, large)
	})
}
